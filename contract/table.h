// The table of functions of a backend (zo2.h), made once for all of them: every function guards its border, opens the
// handles that it is given, and hands the rest to the backend's own objects. Includes nothing of a backend.
//
// `Backend` names what is behind the handles, and says what only the backend knows:
//
//   Device, Stream, Event, Gate, Buffer, DeviceLayout, DeviceProgram
//                     types; all but Device have `Device& device() const`, Device has `Shortage& shortage()`
//   kKind             "cpu", "cuda"
//   kForked           what a fork of the process that opened a device lacks, and what to do
//   count_devices()   a DeviceCount
//
// Beside its Stream lie the commands: enqueue_copy(Stream&, ...) to enqueue_gradient(Stream&, ...).
//
// A zo2_device is a std::shared_ptr<Device>, which every other object shares, so that one that is destroyed after
// device_close (an error of the caller) finds its device where it was. The other handles are the objects themselves;
// of Buffer, DeviceLayout and DeviceProgram, contract/ sees the first base. No handle is ever defined as a type of C,
// so that the backends of one addon do not clash.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <memory>

#include "contract/device_count.h"
#include "contract/raw.h"
#include "contract/status.h"
#include "contract/zo2.h"

namespace zo2::contract {

template <typename Backend>
class Table {
 public:
  // In the order of the fields of zo2_backend.
  static constexpr zo2_backend make() {
    return {
        ZO2_CONTRACT_VERSION,
        Backend::kKind,
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
        file_create,
        file_open,
        file_link,
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
        seal,
        prepare,
        run,
        loss,
        gradient,
    };
  }

 private:
  using Device = typename Backend::Device;
  using Stream = typename Backend::Stream;
  using Event = typename Backend::Event;
  using Gate = typename Backend::Gate;
  using Buffer = typename Backend::Buffer;
  using DeviceLayout = typename Backend::DeviceLayout;
  using DeviceProgram = typename Backend::DeviceProgram;
  using DevicePointer = std::shared_ptr<Device>;

  template <typename Object, typename Handle>
  static Object& open(Handle* handle, const char* what) {
    if (handle == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "%s is null", what);
    return *reinterpret_cast<Object*>(handle);
  }

  static void check_process(const Device& device) {
    if (device.forked()) {
      fail(ZO2_STATUS_DEVICE, "the device was opened before this process was forked, and %s", Backend::kForked);
    }
  }

  static const DevicePointer& open_device(zo2_device* handle) {
    const DevicePointer& device = open<DevicePointer>(handle, "device");
    check_process(*device);
    return device;
  }

  static Stream& open_stream(zo2_stream* handle) {
    Stream& stream = open<Stream>(handle, "stream");
    check_process(stream.device());
    return stream;
  }

  static Event& open_event(zo2_event* handle) {
    Event& event = open<Event>(handle, "event");
    check_process(event.device());
    return event;
  }

  static void check_same_device(const Stream& stream, const Device& device, const char* what) {
    if (&stream.device() != &device) {
      fail(ZO2_STATUS_INVALID_ARGUMENT, "%s belongs to another device than stream \"%s\"", what, stream.name().c_str());
    }
  }

  // Gives the object away as a handle.
  template <typename Handle, typename Object>
  static void give(Handle** handle, std::unique_ptr<Object> object) {
    *handle = reinterpret_cast<Handle*>(object.release());
  }

  // The same for one that holds memory of the device.
  template <typename Handle, typename Object>
  static void give_allocated(Handle** handle, std::unique_ptr<Object> object, const char* what, uint64_t bytes = 0) {
    object->device().shortage().count(what, bytes);
    give(handle, std::move(object));
  }

  // In a fork it leaks: what the object would give back is not there.
  template <typename Object, typename Handle>
  static void destroy(Handle* handle) {
    if (handle == nullptr) return;
    auto* const object = reinterpret_cast<Object*>(handle);
    if (!object->device().forked()) delete object;
  }

  static zo2_status device_count(int32_t* count, zo2_error* error) {
    DeviceCount found{};
    const zo2_status status = guarded(error, [&] {
      found = Backend::count_devices();
      *count = found.count;
    });
    // The reason goes with ZO2_OK: that there is no device is an answer.
    if (status == ZO2_OK) write_error(error, ZO2_OK, found.reason.c_str());
    return status;
  }

  static zo2_status device_open(const zo2_device_options* options, zo2_device** device, zo2_error* error) {
    return guarded(error, [&] {
      auto opened = std::make_shared<Device>(open<const zo2_device_options>(options, "options"));
      give(device, std::make_unique<DevicePointer>(std::move(opened)));
    });
  }

  static void device_close(zo2_device* handle) {
    if (handle == nullptr) return;
    auto* const device = reinterpret_cast<DevicePointer*>(handle);
    if ((*device)->forked()) return;
    (*device)->close();
    delete device;
  }

  static zo2_status device_info(zo2_device* device, zo2_device_info* info, zo2_error* error) {
    return guarded(error, [&] { open_device(device)->describe(info); });
  }

  static zo2_status stream_create(zo2_device* device, const char* name, zo2_stream** stream, zo2_error* error) {
    return guarded(error, [&] {
      give_allocated(stream, std::make_unique<Stream>(open_device(device), name == nullptr ? "stream" : name),
                     "stream");
    });
  }

  static void stream_destroy(zo2_stream* stream) { destroy<Stream>(stream); }

  static zo2_status stream_fail(zo2_stream* stream, const zo2_error* cause, zo2_error* error) {
    return guarded(error, [&] { open_stream(stream).poison(open<const zo2_error>(cause, "cause")); });
  }

  static zo2_status stream_record(zo2_stream* stream, zo2_event* event, zo2_error* error) {
    return guarded(error, [&] {
      Event& recorded = open_event(event);
      check_same_device(open_stream(stream), recorded.device(), "the event");
      open_stream(stream).record(recorded);
    });
  }

  static zo2_status stream_wait(zo2_stream* stream, zo2_event* event, zo2_error* error) {
    return guarded(error, [&] {
      const Event& awaited = open_event(event);
      check_same_device(open_stream(stream), awaited.device(), "the event");
      open_stream(stream).wait(awaited);
    });
  }

  static zo2_status stream_hold(zo2_stream* stream, zo2_gate* gate, zo2_error* error) {
    return guarded(error, [&] {
      Gate& held = open<Gate>(gate, "gate");
      check_same_device(open_stream(stream), held.device(), "the gate");
      open_stream(stream).hold(held);
    });
  }

  static zo2_status event_create(zo2_device* device, zo2_event** event, zo2_error* error) {
    return guarded(error, [&] { give(event, std::make_unique<Event>(open_device(device))); });
  }

  static void event_destroy(zo2_event* event) { destroy<Event>(event); }

  static zo2_status event_notify(zo2_event* event, zo2_notify notify, void* user, zo2_error* error) {
    return guarded(error, [&] {
      if (notify == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "notify is null");
      open_event(event).notify(notify, user);
    });
  }

  static zo2_status event_time(zo2_event* event, double* seconds, zo2_error* error) {
    return guarded(error, [&] { *seconds = open_event(event).seconds(); });
  }

  static zo2_status gate_create(zo2_device* device, zo2_gate** gate, zo2_error* error) {
    return guarded(error, [&] { give(gate, std::make_unique<Gate>(open_device(device))); });
  }

  static void gate_open(zo2_gate* handle) {
    if (handle == nullptr) return;
    Gate& gate = *reinterpret_cast<Gate*>(handle);
    if (!gate.device().forked()) gate.open();
  }

  static void gate_destroy(zo2_gate* gate) { destroy<Gate>(gate); }

  static zo2_status buffer_create(zo2_device* device, zo2_buffer_kind kind, uint64_t bytes, zo2_buffer** buffer,
                                  zo2_error* error) {
    return guarded(error, [&] {
      const int number = raw(kind);
      if (number != ZO2_BUFFER_DEVICE && number != ZO2_BUFFER_HOST) {
        fail(ZO2_STATUS_INVALID_ARGUMENT,
             "%d is not a kind of buffer that is made so; use 0 (device) or 1 (host), or file_create", number);
      }
      give_allocated(buffer, std::make_unique<Buffer>(open_device(device), kind, bytes),
                     kind == ZO2_BUFFER_DEVICE ? "device" : "host", bytes);
    });
  }

  static zo2_status file_create(zo2_device* device, const zo2_file_options* options, zo2_buffer** buffer,
                                zo2_error* error) {
    return guarded(error, [&] {
      const zo2_file_options& given = open<const zo2_file_options>(options, "options");
      if (given.folder == nullptr || *given.folder == '\0')
        fail(ZO2_STATUS_INVALID_ARGUMENT, "folder is empty; name the one that the file takes its room in");
      give_allocated(buffer, std::make_unique<Buffer>(open_device(device), given), "file", given.bytes);
    });
  }

  static zo2_status file_open(zo2_device* device, const char* path, zo2_buffer** buffer, zo2_error* error) {
    return guarded(error, [&] {
      if (path == nullptr || *path == '\0')
        fail(ZO2_STATUS_INVALID_ARGUMENT, "path is empty; name a file that is there");
      give(buffer, std::make_unique<Buffer>(open_device(device), path));
    });
  }

  static zo2_status file_link(zo2_buffer* handle, const char* path, zo2_error* error) {
    return guarded(error, [&] {
      Buffer& buffer = open<Buffer>(handle, "buffer");
      check_process(buffer.device());
      if (buffer.kind != ZO2_BUFFER_FILE || buffer.read_only)
        fail(ZO2_STATUS_INVALID_ARGUMENT, "the buffer is no file that was made, and gets no name");
      if (path == nullptr || *path == '\0') fail(ZO2_STATUS_INVALID_ARGUMENT, "path is empty; name the file");
      buffer.file().link(path);
    });
  }

  static void buffer_destroy(zo2_buffer* buffer) { destroy<Buffer>(buffer); }

  static uint64_t buffer_bytes(const zo2_buffer* handle) {
    return handle == nullptr ? 0 : reinterpret_cast<const Buffer*>(handle)->bytes;
  }

  static void* buffer_host_pointer(const zo2_buffer* handle) {
    if (handle == nullptr) return nullptr;
    const Buffer& buffer = *reinterpret_cast<const Buffer*>(handle);
    return buffer.kind == ZO2_BUFFER_HOST ? buffer.data : nullptr;
  }

  static zo2_status layout_create(zo2_device* device, const zo2_segment* segments, uint64_t count, zo2_layout** layout,
                                  zo2_error* error) {
    return guarded(error, [&] {
      if (segments == nullptr && count != 0)
        fail(ZO2_STATUS_INVALID_ARGUMENT, "segments is null, but count is %" PRIu64, count);
      give_allocated(layout, std::make_unique<DeviceLayout>(open_device(device), segments, count), "layout");
    });
  }

  static void layout_destroy(zo2_layout* layout) { destroy<DeviceLayout>(layout); }

  static zo2_status program_create(zo2_device* device, const double* words, uint64_t count,
                                   const uint64_t space_bytes[ZO2_SPACES], zo2_program** program, zo2_error* error) {
    return guarded(error, [&] {
      if (words == nullptr && count != 0)
        fail(ZO2_STATUS_INVALID_ARGUMENT, "words is null, but count is %" PRIu64, count);
      if (space_bytes == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "space_bytes is null");
      give_allocated(program, std::make_unique<DeviceProgram>(open_device(device), words, count, space_bytes),
                     "program");
    });
  }

  static void program_destroy(zo2_program* program) { destroy<DeviceProgram>(program); }

  static zo2_status copy(zo2_stream* stream, zo2_span dst, zo2_span src, uint64_t bytes, zo2_error* error) {
    return guarded(error, [&] { enqueue_copy(open_stream(stream), dst, src, bytes); });
  }

  static zo2_status fill(zo2_stream* stream, zo2_span dst, uint8_t byte, uint64_t bytes, zo2_error* error) {
    return guarded(error, [&] { enqueue_fill(open_stream(stream), dst, byte, bytes); });
  }

  static zo2_status gather(zo2_stream* stream, zo2_span dst, zo2_span src, zo2_span rows, uint64_t count,
                           int64_t row_base, uint64_t row_bytes, zo2_error* error) {
    return guarded(error, [&] { enqueue_gather(open_stream(stream), dst, src, rows, count, row_base, row_bytes); });
  }

  static zo2_status seal(zo2_stream* stream, zo2_span at, uint64_t index, zo2_span memory, uint64_t bytes,
                         zo2_span note, zo2_error* error) {
    return guarded(error, [&] { enqueue_seal(open_stream(stream), at, index, memory, bytes, note); });
  }

  static zo2_status prepare(zo2_stream* stream, const zo2_prepare_args* args, zo2_error* error) {
    return guarded(error, [&] { enqueue_prepare(open_stream(stream), open<const zo2_prepare_args>(args, "args")); });
  }

  static zo2_status run(zo2_stream* stream, const zo2_run_args* args, zo2_error* error) {
    return guarded(error, [&] { enqueue_run(open_stream(stream), open<const zo2_run_args>(args, "args")); });
  }

  static zo2_status loss(zo2_stream* stream, const zo2_loss_args* args, zo2_error* error) {
    return guarded(error, [&] { enqueue_loss(open_stream(stream), open<const zo2_loss_args>(args, "args")); });
  }

  static zo2_status gradient(zo2_stream* stream, const zo2_gradient_args* args, zo2_error* error) {
    return guarded(error, [&] { enqueue_gradient(open_stream(stream), open<const zo2_gradient_args>(args, "args")); });
  }
};

}  // namespace zo2::contract
