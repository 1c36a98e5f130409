// The race detector: each mistake is reported at its place, its correct twin is not. Compiled with the emulator like a
// kernel file.
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda/instructions/cp_async.h"
#include "cuda/kernel.h"
#include "emulated.h"

namespace {

using zo2::test::kRaceBuild;

// A mistake that only the race build finds.
void expect_race(const char* name, const std::string& kind, std::initializer_list<const char*> marks,
                 const std::function<void()>& body) {
  if (kRaceBuild || kind.empty()) zo2::test::expect(__FILE__, name, kind, marks, body);
}

constexpr int kThreads = 64;
constexpr int kCount = 1024;

// Device memory of `count` integers, whose values are `value`, or which nobody has written.
int* device_memory(int count, int value) {
  int* memory = nullptr;
  CHECK(cudaMalloc(reinterpret_cast<void**>(&memory), count * sizeof(int)) == cudaSuccess);
  CHECK(cudaMemset(memory, value, count * sizeof(int)) == cudaSuccess);
  return memory;
}
int* unwritten_memory(int count) {
  int* memory = nullptr;
  CHECK(cudaMalloc(reinterpret_cast<void**>(&memory), count * sizeof(int)) == cudaSuccess);
  return memory;
}
int* pinned_memory(int count) {
  int* memory = nullptr;
  CHECK(cudaHostAlloc(reinterpret_cast<void**>(&memory), count * sizeof(int), cudaHostAllocDefault) == cudaSuccess);
  return memory;
}
cudaStream_t stream() {
  cudaStream_t created = nullptr;
  CHECK(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking) == cudaSuccess);
  return created;
}
// `later` waits for what `earlier` has by now.
void order(cudaStream_t earlier, cudaStream_t later) {
  cudaEvent_t event = nullptr;
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  CHECK(cudaEventRecord(event, earlier) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(later, event, 0) == cudaSuccess);
  CHECK(cudaEventDestroy(event) == cudaSuccess);
}

struct Shared {
  int values[2 * kThreads];
};

enum class Barriers { kAll, kNotBetween, kNotAfter };

// Each thread takes its neighbour's value, twice.
__global__ void neighbours(int* out, Barriers barriers) {
  ZO2_SHARED_DYNAMIC(Shared, shared);
  const int t = threadIdx.x;
  int sum = 0;
  for (int round = 0; round < 2; round++) {
    shared->values[t] = t + round;  // [shared write]
    if (barriers != Barriers::kNotBetween) __syncthreads();
    sum += shared->values[(t + 32) % kThreads];  // [shared read]
    if (barriers != Barriers::kNotAfter) __syncthreads();
  }
  out[blockIdx.x * kThreads + t] = sum;
}

__global__ void lanes(int* out, bool synchronised) {
  ZO2_SHARED_STATIC(int[kThreads], values);
  const int t = threadIdx.x;
  values[t] = t;  // [lane write]
  if (synchronised) __syncwarp();
  out[t] = values[t ^ 1];  // [lane read]
}

// A shuffle orders no memory.
__global__ void shuffled_lanes(int* out) {
  ZO2_SHARED_STATIC(int[kThreads], values);
  const int t = threadIdx.x;
  values[t] = t;  // [shuffle write]
  const int lane = __shfl_xor_sync(0xffffffffu, t, 1);
  out[t] = values[lane];  // [shuffle read]
}

__global__ void read_shared(int* out, int index) {
  ZO2_SHARED_STATIC(int[kThreads], values);
  if (threadIdx.x < 32) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x == 0 ? index : 0];  // [shared index]
}

__global__ void copy_values(int* out, const int* in, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) {
    const int value = in[i];  // [global read]
    out[i] = value;           // [global write]
  }
}

__global__ void one_word(int* word, bool atomic) {
  if (threadIdx.x != 0) return;
  if (atomic) {
    atomicAdd(word, 1);
  } else {
    *word = blockIdx.x;  // [word write]
  }
}

__global__ void atomic_and_plain(int* word, int* out) {
  if (threadIdx.x == 0) atomicAdd(word, 1);  // [word add]
  if (threadIdx.x == 32) *out = *word;       // [word read]
}

struct Copied {
  alignas(16) int values[kThreads * 4];
};

__global__ void copied(int* out, const int* in, bool waits) {
  ZO2_SHARED_DYNAMIC(Copied, shared);
  const int t = threadIdx.x;
  zo2::cuda::cp_async_16(&shared->values[4 * t], in + 4 * t, 16);  // [async copy]
  zo2::cuda::cp_async_commit();
  if (waits) zo2::cuda::cp_async_wait<0>();
  __syncthreads();
  out[t] = shared->values[(4 * t + 4) % (kThreads * 4)];  // [copied read]
  __syncthreads();
  if (!waits) zo2::cuda::cp_async_wait<0>();
}

void launch_copy(int* out, const int* in, int count, cudaStream_t on) {
  CHECK(ZO2_LAUNCH(copy_values, dim3((count + kThreads - 1) / kThreads), dim3(kThreads), 0, on, out, in, count) ==
        cudaSuccess);
}

void threads_of_a_block() {
  for (const Barriers barriers : {Barriers::kAll, Barriers::kNotBetween, Barriers::kNotAfter}) {
    const std::string kind = barriers == Barriers::kAll ? "" : "racecheck";
    expect_race("barriers", kind, {"shared write", "shared read"}, [&] {
      int* const out = device_memory(3 * kThreads, 0);
      CHECK(ZO2_LAUNCH(neighbours, dim3(3), dim3(kThreads), sizeof(Shared), nullptr, out, barriers) == cudaSuccess);
    });
  }
  for (const bool synchronised : {true, false}) {
    expect_race("lanes", synchronised ? "" : "racecheck", {"lane write", "lane read"}, [&] {
      CHECK(ZO2_LAUNCH(lanes, dim3(1), dim3(kThreads), 0, nullptr, device_memory(kThreads, 0), synchronised) ==
            cudaSuccess);
    });
  }
  expect_race("shuffle", "racecheck", {"shuffle write", "shuffle read"}, [] {
    CHECK(ZO2_LAUNCH(shuffled_lanes, dim3(1), dim3(kThreads), 0, nullptr, device_memory(kThreads, 0)) == cudaSuccess);
  });
  const struct {
    int index;
    const char* kind;
  } indices[] = {{31, ""}, {32, "initcheck"}, {kThreads, "memcheck"}, {-1, "memcheck"}};
  for (const auto& [index, kind] : indices) {
    expect_race("shared index", kind, {"shared index"}, [index = index] {
      CHECK(ZO2_LAUNCH(read_shared, dim3(1), dim3(kThreads), 0, nullptr, device_memory(kThreads, 0), index) ==
                cudaSuccess ||
            index < 0);
    });
  }
  expect_race("async copy", "", {}, [] {
    CHECK(ZO2_LAUNCH(copied, dim3(1), dim3(kThreads), sizeof(Copied), nullptr, device_memory(kThreads, 0),
                     device_memory(kCount, 1), true) == cudaSuccess);
  });
  expect_race("async copy read early", "racecheck", {"async copy", "copied read"}, [] {
    CHECK(ZO2_LAUNCH(copied, dim3(1), dim3(kThreads), sizeof(Copied), nullptr, device_memory(kThreads, 0),
                     device_memory(kCount, 1), false) == cudaSuccess);
  });
}

void blocks_and_bounds() {
  expect_race("two blocks, one word", "racecheck", {"word write"}, [] {
    CHECK(ZO2_LAUNCH(one_word, dim3(2), dim3(32), 0, nullptr, device_memory(1, 0), false) == cudaSuccess);
  });
  expect_race("two blocks, atomically", "", {}, [] {
    CHECK(ZO2_LAUNCH(one_word, dim3(2), dim3(32), 0, nullptr, device_memory(1, 0), true) == cudaSuccess);
  });
  expect_race("atomic and plain", "racecheck", {"word add", "word read"}, [] {
    CHECK(ZO2_LAUNCH(atomic_and_plain, dim3(1), dim3(kThreads), 0, nullptr, device_memory(1, 0), device_memory(1, 0)) ==
          cudaSuccess);
  });
  expect_race("past the end", "memcheck", {"global read"},
              [] { launch_copy(device_memory(kCount, 0), device_memory(kCount - 1, 0), kCount, nullptr); });
  expect_race("written past the end", "memcheck", {"global write"},
              [] { launch_copy(device_memory(kCount - 1, 0), device_memory(kCount, 0), kCount, nullptr); });
  expect_race("freed", "memcheck", {"global read"}, [] {
    int* const freed = device_memory(kCount, 0);
    CHECK(cudaFree(freed) == cudaSuccess);
    launch_copy(device_memory(kCount, 0), freed, kCount, nullptr);
  });
  expect_race("never written", "initcheck", {"global read"},
              [] { launch_copy(device_memory(kCount, 0), unwritten_memory(kCount), kCount, nullptr); });
  expect_race("copy of nothing", "initcheck", {}, [] {
    CHECK(cudaMemcpyAsync(pinned_memory(kCount), unwritten_memory(kCount), kCount * 4, cudaMemcpyDeviceToHost,
                          nullptr) == cudaSuccess);
  });
  std::vector<int> host(kCount);
  expect_race("host pointer", "memcheck", {"global read"},
              [&] { launch_copy(device_memory(kCount, 0), host.data(), kCount, nullptr); });
  expect_race("pinned memory", "", {},
              [] { launch_copy(device_memory(kCount, 0), pinned_memory(kCount), kCount, nullptr); });
}

// Two kernels, or copies, on two streams: `first` leaves memory to `second`.
using Command = std::function<void(int* memory, cudaStream_t on)>;

void two_streams(const char* name, const Command& first, const Command& second) {
  enum class Order { kEvent, kHost, kThrough, kNone, kEarlyRecord, kOtherWay };
  for (const Order how :
       {Order::kEvent, Order::kHost, Order::kThrough, Order::kNone, Order::kEarlyRecord, Order::kOtherWay}) {
    const bool correct = how == Order::kEvent || how == Order::kHost || how == Order::kThrough;
    expect_race(name, correct ? "" : "racecheck", {}, [&] {
      int* const memory = device_memory(kCount, 1);
      CHECK(cudaDeviceSynchronize() == cudaSuccess);
      const cudaStream_t one = stream();
      const cudaStream_t two = stream();
      const cudaStream_t three = stream();
      if (how == Order::kEarlyRecord) order(one, two);
      first(memory, one);
      if (how == Order::kEvent) order(one, two);
      if (how == Order::kOtherWay) order(two, one);
      if (how == Order::kHost) CHECK(cudaStreamSynchronize(one) == cudaSuccess);
      if (how == Order::kThrough) {
        order(one, three);
        order(three, two);
      }
      second(memory, two);
      CHECK(cudaDeviceSynchronize() == cudaSuccess || kRaceBuild);
    });
  }
}

void streams() {
  int* pinned = nullptr;
  const Command write = [](int* memory, cudaStream_t on) { launch_copy(memory, memory + kCount / 2, kCount / 2, on); };
  const Command read = [](int* memory, cudaStream_t on) {
    launch_copy(unwritten_memory(kCount), memory, kCount / 2, on);
  };
  const Command upload = [&](int* memory, cudaStream_t on) {
    pinned = pinned_memory(kCount);
    CHECK(cudaMemcpyAsync(memory, pinned, kCount * 4, cudaMemcpyHostToDevice, on) == cudaSuccess);
  };
  const Command download = [&](int* memory, cudaStream_t on) {
    pinned = pinned_memory(kCount);
    CHECK(cudaMemcpyAsync(pinned, memory, kCount * 4, cudaMemcpyDeviceToHost, on) == cudaSuccess);
  };
  const Command fill = [](int* memory, cudaStream_t on) { CHECK(cudaMemsetAsync(memory, 0, 16, on) == cudaSuccess); };
  two_streams("kernel writes, kernel reads", write, read);
  two_streams("kernel reads, kernel writes", read, write);
  two_streams("kernel writes, kernel writes", write, write);
  two_streams("upload, kernel", upload, read);
  two_streams("kernel reads, upload into its slot", read, upload);
  two_streams("kernel writes, download", write, download);
  two_streams("download, upload into the slot", download, upload);
  two_streams("fill, kernel", fill, read);
  two_streams("download, fill", download, fill);

  // A wait binds to the record of its time: recorded anew later, the event orders no more.
  for (const bool anew : {false, true}) {
    expect_race("event recorded anew", anew ? "" : "racecheck", {"global read"}, [&] {
      int* const memory = device_memory(kCount, 1);
      CHECK(cudaDeviceSynchronize() == cudaSuccess);
      const cudaStream_t one = stream();
      const cudaStream_t two = stream();
      cudaEvent_t event = nullptr;
      CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
      CHECK(cudaEventRecord(event, one) == cudaSuccess);
      if (!anew) CHECK(cudaStreamWaitEvent(two, event, 0) == cudaSuccess);
      write(memory, one);
      CHECK(cudaEventRecord(event, one) == cudaSuccess);
      if (anew) CHECK(cudaStreamWaitEvent(two, event, 0) == cudaSuccess);
      read(memory, two);
    });
  }
}

// What the host does to pinned memory is held against the streams too.
void host() {
  for (const bool waits : {true, false}) {
    expect_race("host reads a result", waits ? "" : "racecheck", {"host read"}, [&] {
      int* const memory = device_memory(kCount, 7);
      int* const result = pinned_memory(kCount);
      CHECK(cudaDeviceSynchronize() == cudaSuccess);
      const cudaStream_t on = stream();
      CHECK(cudaMemcpyAsync(result, memory, kCount * 4, cudaMemcpyDeviceToHost, on) == cudaSuccess);
      if (waits) CHECK(cudaStreamSynchronize(on) == cudaSuccess);
      volatile int* const seen = result;
      const int value = seen[3];  // [host read]
      CHECK(value == 0x07070707 || !waits);
    });
  }
  for (const bool waits : {true, false}) {
    expect_race("host rewrites a source", waits ? "" : "racecheck", {"host write"}, [&] {
      int* const memory = device_memory(kCount, 7);
      int* const source = pinned_memory(kCount);
      CHECK(cudaDeviceSynchronize() == cudaSuccess);
      const cudaStream_t on = stream();
      CHECK(cudaMemcpyAsync(memory, source, kCount * 4, cudaMemcpyHostToDevice, on) == cudaSuccess);
      if (waits) CHECK(cudaStreamSynchronize(on) == cudaSuccess);
      source[5] = 1;  // [host write]
      CHECK(cudaStreamSynchronize(on) == cudaSuccess || !waits);
    });
  }
}

// After a report and a reset, work goes on, and the same mistake is told again.
void reports_go_on() {
  if (!kRaceBuild) return;
  for (int round = 0; round < 2; round++) {
    expect_race("again", "memcheck", {"global read"}, [] {
      launch_copy(device_memory(kCount, 0), device_memory(kCount - 1, 0), kCount, nullptr);
      CHECK(cudaDeviceSynchronize() != cudaSuccess);
    });
    expect_race("and then none", "", {}, [] {
      int* const out = device_memory(kCount, 0);
      launch_copy(out, device_memory(kCount, 3), kCount, nullptr);
      std::vector<int> values(kCount);
      CHECK(cudaMemcpy(values.data(), out, kCount * 4, cudaMemcpyDeviceToHost) == cudaSuccess);
      CHECK(values[kCount - 1] == 0x03030303);
    });
  }
}

}  // namespace

int main() {
  zo2::cuda::load_kernels();
  threads_of_a_block();
  blocks_and_bounds();
  streams();
  host();
  reports_go_on();
  return zo2::test::report();
}
