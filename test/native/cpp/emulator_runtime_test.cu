// The emulated CUDA runtime: streams, events, host functions, memory and errors follow CUDA's rules.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "cuda/kernel.h"
#include "emulated.h"

using zo2::test::expect;

namespace {

bool ok(cudaError_t status) { return CHECK(status == cudaSuccess, "%s", cudaGetErrorName(status)); }

// Destroys what a test made; streams first, so that nothing runs any more.
struct Bench {
  Bench() {
    for (cudaStream_t& stream : streams) ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (cudaEvent_t& event : events) ok(cudaEventCreateWithFlags(&event, cudaEventDefault));
    ok(cudaMalloc(reinterpret_cast<void**>(&device), 4096));
    ok(cudaMemset(device, 0, 4096));
    ok(cudaHostAlloc(reinterpret_cast<void**>(&pinned), 4096, cudaHostAllocMapped));
    memset(pinned, 0, 4096);
    ok(cudaDeviceSynchronize());
  }
  ~Bench() {
    ok(cudaDeviceSynchronize());
    for (const cudaEvent_t event : events) ok(cudaEventDestroy(event));
    for (const cudaStream_t stream : streams) ok(cudaStreamDestroy(stream));
    ok(cudaFree(device));
    ok(cudaFreeHost(pinned));
  }
  cudaStream_t streams[3];
  cudaEvent_t events[3];
  int* device;
  int* pinned;
};

struct Gate {
  static void CUDART_CB wait(void* self) {
    Gate& gate = *static_cast<Gate*>(self);
    std::unique_lock lock(gate.mutex);
    gate.changed.wait(lock, [&] { return gate.open; });
  }
  void let_pass() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
};

__global__ void store(int* at, int value) { *at = value; }
__global__ void add(int* at, const int* other) { *at += *other; }
__global__ void stop_itself() { __trap(); }

int read(const int* device) {
  int value = -1;
  ok(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
  return value;
}

// A blocked stream delays only those that wait for it; a wait binds to the record of the time of the call.
void streams_wait_for_events() {
  Bench bench;
  Gate gate;
  ok(cudaLaunchHostFunc(bench.streams[0], &Gate::wait, &gate));
  ok(ZO2_LAUNCH(store, 1, 1, 0, bench.streams[0], bench.device, 5));
  ok(cudaEventRecord(bench.events[0], bench.streams[0]));
  ok(cudaStreamWaitEvent(bench.streams[1], bench.events[0], 0));
  ok(ZO2_LAUNCH(add, 1, 1, 0, bench.streams[1], bench.device + 1, bench.device));

  // This stream is free, and so is an event that was never recorded.
  ok(cudaStreamWaitEvent(bench.streams[2], bench.events[1], 0));
  ok(ZO2_LAUNCH(store, 1, 1, 0, bench.streams[2], bench.device + 2, 7));
  ok(cudaEventRecord(bench.events[2], bench.streams[2]));
  ok(cudaEventSynchronize(bench.events[2]));
  CHECK(cudaStreamQuery(bench.streams[2]) == cudaSuccess);
  CHECK(cudaEventQuery(bench.events[1]) == cudaSuccess, "an event without a record counts as done");

  CHECK(cudaEventQuery(bench.events[0]) == cudaErrorNotReady);
  CHECK(cudaGetLastError() == cudaErrorNotReady && cudaGetLastError() == cudaSuccess, "as CUDA keeps it");
  CHECK(cudaStreamQuery(bench.streams[1]) == cudaErrorNotReady);
  static_cast<void>(cudaGetLastError());
  float milliseconds = 0;
  CHECK(cudaEventElapsedTime(&milliseconds, bench.events[2], bench.events[0]) == cudaErrorNotReady);
  static_cast<void>(cudaGetLastError());

  // The event moves on to another stream; what stream 1 waits for stays.
  ok(cudaEventRecord(bench.events[0], bench.streams[2]));
  ok(cudaEventSynchronize(bench.events[0]));
  CHECK(cudaStreamQuery(bench.streams[1]) == cudaErrorNotReady);
  static_cast<void>(cudaGetLastError());

  gate.let_pass();
  ok(cudaStreamSynchronize(bench.streams[1]));
  CHECK(read(bench.device + 1) == 5 && read(bench.device + 2) == 7);
  ok(cudaEventElapsedTime(&milliseconds, bench.events[2], bench.events[0]));
  CHECK(milliseconds >= 0);
}

// Whatever the order of enqueuing and the mode, a stream keeps its order and a chain of events its own.
void chains_of_events_keep_their_order() {
  Bench bench;
  for (int round = 0; round < 20; ++round) {
    ok(ZO2_LAUNCH(store, 1, 1, 0, bench.streams[0], bench.device, round));
    ok(cudaEventRecord(bench.events[0], bench.streams[0]));
    ok(cudaStreamWaitEvent(bench.streams[1], bench.events[0], 0));
    ok(ZO2_LAUNCH(add, 1, 1, 0, bench.streams[1], bench.device + 1, bench.device));
    ok(cudaEventRecord(bench.events[1], bench.streams[1]));
    ok(cudaStreamWaitEvent(bench.streams[0], bench.events[1], 0));
  }
  ok(cudaStreamSynchronize(bench.streams[0]));
  CHECK(read(bench.device + 1) == 190);
}

// Work runs although nobody waits for it.
void work_goes_on_by_itself() {
  Bench bench;
  struct Told {
    std::atomic<bool> yes{false};
    static void CUDART_CB tell(void* self) { static_cast<Told*>(self)->yes = true; }
  } told;
  ok(ZO2_LAUNCH(store, 1, 1, 0, bench.streams[0], bench.device, 9));
  ok(cudaEventRecord(bench.events[0], bench.streams[0]));
  ok(cudaStreamWaitEvent(bench.streams[1], bench.events[0], 0));
  ok(cudaLaunchHostFunc(bench.streams[1], &Told::tell, &told));
  while (!told.yes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void many_threads_may_call() {
  Bench bench;
  std::vector<std::thread> threads;
  for (int index = 0; index < 3; ++index) {
    threads.emplace_back([&, index] {
      const cudaStream_t stream = bench.streams[index];
      for (int round = 0; round < 50; ++round) {
        ok(ZO2_LAUNCH(store, 1, 1, 0, stream, bench.device + 64 * index, 1));
        ok(ZO2_LAUNCH(add, 1, 1, 0, stream, bench.device + 64 * index + 1, bench.device + 64 * index));
        if (round % 10 == 0) ok(cudaStreamSynchronize(stream));
      }
      ok(cudaStreamSynchronize(stream));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int index = 0; index < 3; ++index) CHECK(read(bench.device + 64 * index + 1) == 50);
}

void copies_reach_every_kind_of_memory() {
  Bench bench;
  for (int index = 0; index < 16; ++index) bench.pinned[index] = index;
  ok(cudaMemcpyAsync(bench.device, bench.pinned, 64, cudaMemcpyDefault, bench.streams[0]));
  ok(cudaMemcpyAsync(bench.device + 16, bench.device, 64, cudaMemcpyDefault, bench.streams[0]));
  ok(cudaMemsetAsync(bench.device, 0xff, 32, bench.streams[0]));
  ok(cudaMemcpyAsync(bench.pinned + 32, bench.device, 128, cudaMemcpyDefault, bench.streams[0]));
  ok(cudaStreamSynchronize(bench.streams[0]));
  CHECK(bench.pinned[32] == -1 && bench.pinned[32 + 8] == 8 && bench.pinned[32 + 16] == 0 &&
        bench.pinned[32 + 31] == 15);

  // Pageable memory is read before the call returns, however late the copy runs.
  Gate gate;
  ok(cudaLaunchHostFunc(bench.streams[1], &Gate::wait, &gate));
  int value = 41;
  ok(cudaMemcpyAsync(bench.device, &value, sizeof value, cudaMemcpyHostToDevice, bench.streams[1]));
  value = 42;
  gate.let_pass();
  ok(cudaStreamSynchronize(bench.streams[1]));
  CHECK(read(bench.device) == 41);
}

void registered_memory_is_the_devices_too() {
  Bench bench;
  void* pages = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ok(cudaHostRegister(pages, 8192, cudaHostRegisterMapped));
  CHECK(cudaHostRegister(static_cast<char*>(pages) + 4096, 4096, 0) == cudaErrorHostMemoryAlreadyRegistered);
  static_cast<void>(cudaGetLastError());
  void* seen = nullptr;
  ok(cudaHostGetDevicePointer(&seen, static_cast<char*>(pages) + 16, 0));
  ok(ZO2_LAUNCH(store, 1, 1, 0, bench.streams[0], static_cast<int*>(seen), 77));
  ok(cudaStreamSynchronize(bench.streams[0]));
  CHECK(static_cast<int*>(pages)[4] == 77);
  cudaPointerAttributes attributes;
  ok(cudaPointerGetAttributes(&attributes, pages));
  CHECK(attributes.type == cudaMemoryTypeHost);
  ok(cudaPointerGetAttributes(&attributes, bench.device + 3));
  CHECK(attributes.type == cudaMemoryTypeDevice);
  ok(cudaPointerGetAttributes(&attributes, &attributes));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  ok(cudaHostUnregister(pages));
  CHECK(cudaHostUnregister(pages) == cudaErrorHostMemoryNotRegistered);
  static_cast<void>(cudaGetLastError());
  munmap(pages, 8192);
}

void device_memory_is_limited() {
  size_t free_before, total;
  ok(cudaMemGetInfo(&free_before, &total));
  CHECK(free_before == total);
  void* all;
  ok(cudaMalloc(&all, total - 1000));  // untouched: no memory behind it
  size_t free_now;
  ok(cudaMemGetInfo(&free_now, &total));
  CHECK(free_now == 1000);
  void* more;
  CHECK(cudaMalloc(&more, 1001) == cudaErrorMemoryAllocation && more == nullptr);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
  // Its last bytes exist.
  int* last = static_cast<int*>(all) + (total - 1000) / sizeof(int) - 1;
  ok(ZO2_LAUNCH(store, 1, 1, 0, nullptr, last, 3));
  CHECK(read(last) == 3);
  CHECK(reinterpret_cast<uintptr_t>(all) % 256 == 0);
  ok(cudaFree(all));
  ok(cudaMemGetInfo(&free_now, &total));
  CHECK(free_now == total);
}

void a_failed_kernel_fails_every_call_until_reset() {
  float* device = nullptr;
  expect(__FILE__, "trap", "trap", {}, [&] {
    ok(cudaMalloc(reinterpret_cast<void**>(&device), 16));
    ok(ZO2_LAUNCH(stop_itself, 1, 32, 0, nullptr));
    CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
    CHECK(cudaMemset(device, 0, 16) == cudaErrorLaunchFailure);
    CHECK(ZO2_LAUNCH(stop_itself, 1, 32, 0, nullptr) == cudaErrorLaunchFailure);
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure && cudaGetLastError() == cudaErrorLaunchFailure);
  });
  ok(cudaMalloc(reinterpret_cast<void**>(&device), 16));
  // Freeing the last of what the device has forgets a failure too.
  cudaStream_t stream;
  ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  ok(ZO2_LAUNCH(stop_itself, 1, 1, 0, stream));
  CHECK(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  CHECK(cudaFree(device) == cudaErrorLaunchFailure);
  CHECK(cudaStreamDestroy(stream) == cudaErrorLaunchFailure);
  static_cast<void>(cudaGetLastError());
  CHECK(cudaGetLastError() == cudaSuccess);
}

void wrong_calls_are_refused_and_cost_nothing() {
  Bench bench;
  const auto refused = [&](cudaError_t status, cudaError_t expected) {
    CHECK(status == expected, "%s", cudaGetErrorName(status));
    CHECK(cudaGetLastError() == expected);
  };
  refused(ZO2_LAUNCH(store, 0, 1, 0, bench.streams[0], bench.device, 1), cudaErrorInvalidConfiguration);
  refused(ZO2_LAUNCH(store, 1, 1025, 0, bench.streams[0], bench.device, 1), cudaErrorInvalidConfiguration);
  refused(ZO2_LAUNCH(store, 1, 1, 1 << 20, bench.streams[0], bench.device, 1), cudaErrorInvalidValue);
  refused(cudaMemcpyAsync(bench.device, bench.pinned, 4097, cudaMemcpyDefault, bench.streams[0]),
          cudaErrorInvalidValue);
  refused(cudaMemcpyAsync(bench.device, bench.pinned, 16, cudaMemcpyDeviceToHost, bench.streams[0]),
          cudaErrorInvalidValue);
  refused(cudaMemsetAsync(bench.device + 1, 0, 4096, bench.streams[0]), cudaErrorInvalidValue);
  refused(cudaFree(bench.device + 1), cudaErrorInvalidValue);
  refused(cudaFree(bench.pinned), cudaErrorInvalidValue);
  refused(cudaSetDevice(1), cudaErrorInvalidDevice);
  ok(cudaDeviceSynchronize());
}

// What a driver does behind a program's back, each seen by a report.

__global__ void first_seen_here(int* at) { *at = 1; }

void a_kernel_is_loaded_before_its_first_launch() {
  ok(cudaDeviceReset());
  int* device = nullptr;
  expect(__FILE__, "unloaded", "call", {}, [&] {
    ok(cudaMalloc(reinterpret_cast<void**>(&device), 16));
    CHECK(ZO2_LAUNCH(first_seen_here, 1, 1, 0, nullptr, device) == cudaErrorInvalidDeviceFunction);
    static_cast<void>(cudaGetLastError());
  });
  expect(__FILE__, "loaded", "", {}, [&] {
    ok(cudaMalloc(reinterpret_cast<void**>(&device), 16));
    ok(ZO2_LAUNCH(first_seen_here, 1, 1, 0, nullptr, device));
    ok(cudaFree(device));
  });
}

void nothing_is_made_while_a_stream_is_held() {
  expect(__FILE__, "made under a hold", "call", {}, [] {
    Bench bench;
    Gate gate;
    ok(cudaLaunchHostFunc(bench.streams[0], &Gate::wait, &gate));
    ok(cudaEventRecord(bench.events[0], bench.streams[0]));
    CHECK(cudaEventQuery(bench.events[0]) == cudaErrorNotReady);
    static_cast<void>(cudaGetLastError());
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, 16) == cudaErrorNotSupported);
    CHECK(cudaHostAlloc(&memory, 16, 0) == cudaErrorNotSupported);
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaErrorNotSupported);
    static_cast<void>(cudaGetLastError());
    gate.let_pass();
  });
}

void a_copy_between_host_memories_is_not_asynchronous() {
  expect(__FILE__, "host to host", "call", {}, [] {
    Bench bench;
    CHECK(cudaMemcpyAsync(bench.pinned + 64, bench.pinned, 64, cudaMemcpyDefault, bench.streams[0]) ==
          cudaErrorNotSupported);
    static_cast<void>(cudaGetLastError());
  });
}

// A kernel of a stream that does not follow the default one may run before the bytes are there: the upload lies behind
// a held stream that the default stream waits for.
void an_upload_from_pageable_memory_may_come_late() {
  Bench bench;
  cudaStream_t blocking;
  ok(cudaStreamCreate(&blocking));
  Gate gate;
  ok(cudaLaunchHostFunc(blocking, &Gate::wait, &gate));
  const int value = 9;
  ok(cudaMemcpy(bench.device, &value, sizeof value, cudaMemcpyHostToDevice));
  ok(ZO2_LAUNCH(add, 1, 1, 0, bench.streams[0], bench.device + 1, bench.device));
  ok(cudaStreamSynchronize(bench.streams[0]));
  gate.let_pass();
  ok(cudaStreamSynchronize(cudaStreamLegacy));
  CHECK(read(bench.device + 1) == 0 && read(bench.device) == 9);
  ok(cudaStreamDestroy(blocking));
}

}  // namespace

int main() {
  zo2::cuda::load_kernels();
  streams_wait_for_events();
  chains_of_events_keep_their_order();
  work_goes_on_by_itself();
  many_threads_may_call();
  copies_reach_every_kind_of_memory();
  registered_memory_is_the_devices_too();
  device_memory_is_limited();
  a_failed_kernel_fails_every_call_until_reset();
  wrong_calls_are_refused_and_cost_nothing();
  a_kernel_is_loaded_before_its_first_launch();
  nothing_is_made_while_a_stream_is_held();
  a_copy_between_host_memories_is_not_asynchronous();
  an_upload_from_pageable_memory_may_come_late();
  return zo2::test::report();
}
