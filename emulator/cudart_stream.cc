// Streams, events, host functions and launches of the emulated runtime API.
#include <chrono>
#include <mutex>

#include "emulator/config.h"
#include "emulator/cudart.h"
#include "emulator/device.h"
#include "emulator/hooks.h"
#include "emulator/loading.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

struct Event {
  std::shared_ptr<Record> latest;  // null before the first
  bool timed;
};

Event* event_of(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

cudaError_t create(cudaStream_t* handle, unsigned flags) {
  ZO2_EMU_ENTER();
  if (!outlasts_held_streams("cudaStreamCreate")) return give(cudaErrorNotSupported);
  *handle = reinterpret_cast<cudaStream_t>(create_stream((flags & cudaStreamNonBlocking) == 0).get());
  return cudaSuccess;
}

cudaError_t check_shape(const char* name, dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool grid_fits =
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
  if (!grid_fits || threads < 1 || threads > kMaxThreadsPerBlock || block.z > 64) {
    report_call(name, "a grid of %u x %u x %u blocks of %u x %u x %u threads is not possible", grid.x, grid.y, grid.z,
                block.x, block.y, block.z);
    return cudaErrorInvalidConfiguration;
  }
  if (shared_bytes > config().shared_limit()) {
    report_call(name, "a block may have %zu bytes of shared memory, not %zu", config().shared_limit(), shared_bytes);
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace

Record::~Record() {
  if constexpr (kRace) hooks::event_destroyed(this);
}

cudaError_t enqueue_launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
                           cudaStream_t handle, Call call) {
  const std::shared_ptr<void> owner(call.self, call.destroy);
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  if (const cudaError_t refused = check_shape(name, grid, block, shared_bytes); refused != cudaSuccess)
    return give(refused);
  if (!kernel_loaded(kernel)) {
    report_call(name, "is loaded by its first launch, which may wait for every stream");
    return give(cudaErrorInvalidDeviceFunction);
  }
  enqueue(stream, name,
          [=](uint64_t id) { run_launch({name, grid, block, shared_bytes, call.invoke, owner.get(), call.size, id}); });
  // As on a device, what goes wrong while the kernel runs is told by a later call.
  return cudaSuccess;
}

}  // namespace zo2::emu

using namespace zo2::emu;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* handle) { return create(handle, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) { return create(handle, flags); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) { return create(handle, flags); }

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  cudaError_t status;
  {
    const std::lock_guard hold(runtime_lock());
    const auto stream = find_stream(handle);
    if (stream == nullptr || stream->number == 0) return give(cudaErrorInvalidResourceHandle);
    status = device_status();
    destroy_stream(stream);
  }
  stop_when_unused();
  return give(status);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  wait_for(stream->all());
  if constexpr (kRace) hooks::host_saw_stream(stream->number);
  return give(device_status());
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  poll_progress();
  if (!stream->all().done()) return give(cudaErrorNotReady);
  if constexpr (kRace) hooks::host_saw_stream(stream->number);
  return give(device_status());
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr || event == nullptr) return give(cudaErrorInvalidResourceHandle);
  const auto record = event_of(event)->latest;
  if (record == nullptr) return cudaSuccess;
  if constexpr (kRace) hooks::stream_waits(stream->number, record.get());
  if (record->prefix.done()) return cudaSuccess;
  // An operation of its own: who waits for the stream waits for the event too.
  stream->needs.push_back(record->prefix);
  enqueue(stream, "event wait", [](uint64_t) {});
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  ZO2_EMU_ENTER();
  *event = reinterpret_cast<cudaEvent_t>(new Event{nullptr, (flags & cudaEventDisableTiming) == 0});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard hold(runtime_lock());
  if (event == nullptr) return give(cudaErrorInvalidResourceHandle);
  delete event_of(event);
  return give(device_status());
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr || event == nullptr) return give(cudaErrorInvalidResourceHandle);
  const auto record = std::make_shared<Record>();
  record->prefix = {stream, stream->enqueued + 1};
  event_of(event)->latest = record;
  enqueue(stream, "event record", [record](uint64_t) { record->seconds = now(); });
  if constexpr (kRace) hooks::event_recorded(record.get(), stream->number);
  return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t handle, unsigned) {
  return cudaEventRecord(event, handle);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  ZO2_EMU_ENTER();
  if (event == nullptr) return give(cudaErrorInvalidResourceHandle);
  poll_progress();
  const auto record = event_of(event)->latest;
  if (record == nullptr) return cudaSuccess;
  if (!record->prefix.done()) return give(cudaErrorNotReady);
  if constexpr (kRace) hooks::host_saw_event(record.get());
  return give(device_status());
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ZO2_EMU_ENTER();
  if (event == nullptr) return give(cudaErrorInvalidResourceHandle);
  const auto record = event_of(event)->latest;
  if (record == nullptr) return cudaSuccess;
  wait_for(record->prefix);
  if constexpr (kRace) hooks::host_saw_event(record.get());
  return give(device_status());
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  ZO2_EMU_ENTER();
  if (from == nullptr || to == nullptr) return give(cudaErrorInvalidResourceHandle);
  const Event& first = *event_of(from);
  const Event& second = *event_of(to);
  if (first.latest == nullptr || second.latest == nullptr || !first.timed || !second.timed)
    return give(cudaErrorInvalidResourceHandle);
  if (!first.latest->prefix.done() || !second.latest->prefix.done()) return give(cudaErrorNotReady);
  *milliseconds = static_cast<float>((second.latest->seconds - first.latest->seconds) * 1e3);
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  enqueue(stream, "host function", [=](uint64_t) { function(argument); }, true);
  return cudaSuccess;
}

void zo2_emu_host_function_touches(const void* memory, uint64_t bytes, bool write) {
  const std::lock_guard hold(runtime_lock());
  if constexpr (kRace) hooks::host_function_touches(memory, static_cast<size_t>(bytes), write);
}

}  // extern "C"
