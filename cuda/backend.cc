// The CUDA backend's table of functions (zo2.h). Who runs on which thread:
//
//   - a caller's thread checks the arguments of a command and hands it to CUDA, which may block it once about a
//     thousand commands are queued (commands, stream);
//   - each stream has one thread, which waits for its records, fires them and calls those that asked to be told
//     (watcher). A record that fired before somebody asks is told of on the asking thread.
//
// No lock is held while user code runs. Nothing is static but what has no destructor, so that a process that exits with
// work in its queues does not wait for it. A fork cannot use CUDA: there every call fails, and destroying leaks.
//
// The handles are never defined as C types, so that the backends of one addon do not clash. What is behind them:
// zo2_device std::shared_ptr<Device>, zo2_stream Stream, zo2_event Event, zo2_gate Gate, zo2_buffer
// Buffer, zo2_layout DeviceLayout, zo2_program DeviceProgram; of the last three, contract/ sees the first base.
#include <cinttypes>
#include <memory>

#include "contract/raw.h"
#include "contract/status.h"
#include "cuda/commands.h"
#include "cuda/program_run.h"
#include "cuda/runtime/buffer.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/event.h"
#include "cuda/runtime/gate.h"
#include "cuda/runtime/stream.h"

namespace zo2::cuda {
namespace {

using contract::fail;
using contract::guarded;
using DevicePointer = std::shared_ptr<Device>;

template <typename Object, typename Handle>
Object& open(Handle* handle, const char* what) {
  if (handle == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "%s is null", what);
  return *reinterpret_cast<Object*>(handle);
}

void check_process(const Device& device) {
  if (device.forked()) {
    fail(ZO2_STATUS_DEVICE,
         "the device was opened before this process was forked, and CUDA does not work in a fork; open it in a new "
         "process");
  }
}

const DevicePointer& open_device(zo2_device* handle) {
  const DevicePointer& device = open<DevicePointer>(handle, "device");
  check_process(*device);
  return device;
}

Stream& open_stream(zo2_stream* handle) {
  Stream& stream = open<Stream>(handle, "stream");
  check_process(stream.device());
  return stream;
}

Event& open_event(zo2_event* handle) {
  Event& event = open<Event>(handle, "event");
  check_process(event.device());
  return event;
}

void check_same_device(const Stream& stream, const Device& device, const char* what) {
  if (&stream.device() != &device) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s belongs to another device than stream \"%s\"", what, stream.name().c_str());
  }
}

// Gives the object away as a handle.
template <typename Handle, typename Object>
void give(Handle** handle, std::unique_ptr<Object> object) {
  *handle = reinterpret_cast<Handle*>(object.release());
}

template <typename Object, typename Handle>
void destroy(Handle* handle, const Device& device) {
  if (!device.forked()) delete reinterpret_cast<Object*>(handle);
}

zo2_status device_count(int32_t* count, zo2_error* error) {
  DeviceCount found{};
  const zo2_status status = guarded(error, [&] {
    found = count_devices();
    *count = found.count;
  });
  // The reason goes with ZO2_OK: that there is no GPU is an answer.
  if (status == ZO2_OK) contract::write_error(error, ZO2_OK, found.reason.c_str());
  return status;
}

zo2_status device_open(const zo2_device_options* options, zo2_device** device, zo2_error* error) {
  return guarded(error, [&] {
    give(device,
         std::make_unique<DevicePointer>(std::make_shared<Device>(open<const zo2_device_options>(options, "options"))));
  });
}

void device_close(zo2_device* handle) {
  if (handle == nullptr) return;
  auto* const device = reinterpret_cast<DevicePointer*>(handle);
  if ((*device)->forked()) return;
  (*device)->close();
  delete device;
}

zo2_status device_info(zo2_device* device, zo2_device_info* info, zo2_error* error) {
  return guarded(error, [&] { open_device(device)->describe(info); });
}

zo2_status stream_create(zo2_device* device, const char* name, zo2_stream** stream, zo2_error* error) {
  return guarded(
      error, [&] { give(stream, std::make_unique<Stream>(open_device(device), name == nullptr ? "stream" : name)); });
}

void stream_destroy(zo2_stream* handle) {
  if (handle != nullptr) destroy<Stream>(handle, reinterpret_cast<Stream*>(handle)->device());
}

zo2_status stream_fail(zo2_stream* stream, const zo2_error* cause, zo2_error* error) {
  return guarded(error, [&] { open_stream(stream).poison(open<const zo2_error>(cause, "cause")); });
}

zo2_status stream_record(zo2_stream* stream, zo2_event* event, zo2_error* error) {
  return guarded(error, [&] {
    Event& recorded = open_event(event);
    check_same_device(open_stream(stream), recorded.device(), "the event");
    open_stream(stream).record(recorded);
  });
}

zo2_status stream_wait(zo2_stream* stream, zo2_event* event, zo2_error* error) {
  return guarded(error, [&] {
    const Event& awaited = open_event(event);
    check_same_device(open_stream(stream), awaited.device(), "the event");
    open_stream(stream).wait(awaited);
  });
}

zo2_status stream_hold(zo2_stream* stream, zo2_gate* gate, zo2_error* error) {
  return guarded(error, [&] {
    Gate& held = open<Gate>(gate, "gate");
    check_same_device(open_stream(stream), held.device(), "the gate");
    open_stream(stream).hold(held);
  });
}

zo2_status event_create(zo2_device* device, zo2_event** event, zo2_error* error) {
  return guarded(error, [&] { give(event, std::make_unique<Event>(open_device(device))); });
}

void event_destroy(zo2_event* handle) {
  if (handle != nullptr) destroy<Event>(handle, reinterpret_cast<Event*>(handle)->device());
}

zo2_status event_notify(zo2_event* event, zo2_notify notify, void* user, zo2_error* error) {
  return guarded(error, [&] {
    if (notify == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "notify is null");
    open_event(event).notify(notify, user);
  });
}

zo2_status event_time(zo2_event* event, double* seconds, zo2_error* error) {
  return guarded(error, [&] { *seconds = open_event(event).seconds(); });
}

zo2_status gate_create(zo2_device* device, zo2_gate** gate, zo2_error* error) {
  return guarded(error, [&] { give(gate, std::make_unique<Gate>(open_device(device))); });
}

void gate_open(zo2_gate* handle) {
  if (handle == nullptr) return;
  Gate& gate = *reinterpret_cast<Gate*>(handle);
  if (!gate.device().forked()) gate.open();
}

void gate_destroy(zo2_gate* handle) {
  if (handle != nullptr) destroy<Gate>(handle, reinterpret_cast<Gate*>(handle)->device());
}

zo2_status buffer_create(zo2_device* device, zo2_buffer_kind kind, uint64_t bytes, zo2_buffer** buffer,
                         zo2_error* error) {
  return guarded(error, [&] {
    const int number = contract::raw(kind);
    if (number != ZO2_BUFFER_DEVICE && number != ZO2_BUFFER_HOST) {
      fail(ZO2_STATUS_INVALID_ARGUMENT, "%d is not a kind of buffer; use 0 (device) or 1 (host)", number);
    }
    give(buffer, std::make_unique<Buffer>(open_device(device), kind, bytes));
  });
}

void buffer_destroy(zo2_buffer* handle) {
  if (handle != nullptr) destroy<Buffer>(handle, reinterpret_cast<Buffer*>(handle)->device());
}

uint64_t buffer_bytes(const zo2_buffer* handle) {
  return handle == nullptr ? 0 : reinterpret_cast<const Buffer*>(handle)->bytes;
}

void* buffer_host_pointer(const zo2_buffer* handle) {
  if (handle == nullptr) return nullptr;
  const Buffer& buffer = *reinterpret_cast<const Buffer*>(handle);
  return buffer.kind == ZO2_BUFFER_HOST ? buffer.data : nullptr;
}

zo2_status layout_create(zo2_device* device, const zo2_segment* segments, uint64_t count, zo2_layout** layout,
                         zo2_error* error) {
  return guarded(error, [&] {
    if (segments == nullptr && count != 0)
      fail(ZO2_STATUS_INVALID_ARGUMENT, "segments is null, but count is %" PRIu64, count);
    give(layout, std::make_unique<DeviceLayout>(open_device(device), segments, count));
  });
}

void layout_destroy(zo2_layout* handle) {
  if (handle != nullptr) destroy<DeviceLayout>(handle, reinterpret_cast<DeviceLayout*>(handle)->device());
}

zo2_status program_create(zo2_device* device, const double* words, uint64_t count,
                          const uint64_t space_bytes[ZO2_SPACES], zo2_program** program, zo2_error* error) {
  return guarded(error, [&] {
    if (words == nullptr && count != 0)
      fail(ZO2_STATUS_INVALID_ARGUMENT, "words is null, but count is %" PRIu64, count);
    if (space_bytes == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "space_bytes is null");
    give(program, std::make_unique<DeviceProgram>(open_device(device), words, count, space_bytes));
  });
}

void program_destroy(zo2_program* handle) {
  if (handle != nullptr) destroy<DeviceProgram>(handle, reinterpret_cast<DeviceProgram*>(handle)->device());
}

zo2_status copy(zo2_stream* stream, zo2_span dst, zo2_span src, uint64_t bytes, zo2_error* error) {
  return guarded(error, [&] { enqueue_copy(open_stream(stream), dst, src, bytes); });
}

zo2_status fill(zo2_stream* stream, zo2_span dst, uint8_t byte, uint64_t bytes, zo2_error* error) {
  return guarded(error, [&] { enqueue_fill(open_stream(stream), dst, byte, bytes); });
}

zo2_status gather(zo2_stream* stream, zo2_span dst, zo2_span src, zo2_span rows, uint64_t count, int64_t row_base,
                  uint64_t row_bytes, zo2_error* error) {
  return guarded(error, [&] { enqueue_gather(open_stream(stream), dst, src, rows, count, row_base, row_bytes); });
}

zo2_status prepare(zo2_stream* stream, const zo2_prepare_args* args, zo2_error* error) {
  return guarded(error, [&] { enqueue_prepare(open_stream(stream), open<const zo2_prepare_args>(args, "args")); });
}

zo2_status run(zo2_stream* stream, const zo2_run_args* args, zo2_error* error) {
  return guarded(error, [&] { enqueue_run(open_stream(stream), open<const zo2_run_args>(args, "args")); });
}

zo2_status loss(zo2_stream* stream, const zo2_loss_args* args, zo2_error* error) {
  return guarded(error, [&] { enqueue_loss(open_stream(stream), open<const zo2_loss_args>(args, "args")); });
}

zo2_status gradient(zo2_stream* stream, const zo2_gradient_args* args, zo2_error* error) {
  return guarded(error, [&] { enqueue_gradient(open_stream(stream), open<const zo2_gradient_args>(args, "args")); });
}

// In the order of the fields of zo2_backend.
constexpr zo2_backend kBackend = {
    ZO2_CONTRACT_VERSION,
    "cuda",
    device_count,
    device_open,
    device_close,
    device_info,
    stream_create,
    stream_destroy,
    stream_fail,
    stream_record,
    stream_wait,
    stream_hold,
    event_create,
    event_destroy,
    event_notify,
    event_time,
    gate_create,
    gate_open,
    gate_destroy,
    buffer_create,
    buffer_destroy,
    buffer_bytes,
    buffer_host_pointer,
    layout_create,
    layout_destroy,
    program_create,
    program_destroy,
    copy,
    fill,
    gather,
    prepare,
    run,
    loss,
    gradient,
};

}  // namespace
}  // namespace zo2::cuda

extern "C" const zo2_backend* zo2_cuda_backend(void) { return &zo2::cuda::kBackend; }
