#include "buffer.h"

#include <cinttypes>

#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

// What one ArrayBuffer can hold in every supported version of Node.
constexpr uint64_t kLargestView = UINT32_MAX;

const char* kind_name(zo2_buffer_kind kind) { return kind == ZO2_BUFFER_HOST ? "host" : "device"; }

void release_memory(View& view) {
  if (view.memory == nullptr) return;
  view.memory.reset();
  view.device->view_let_go();
}

// From now on the ArrayBuffer may be collected.
void weaken(napi_env env, const View& view) {
  uint32_t count = 0;
  napi_reference_unref(env, view.array_buffer, &count);
}

void collect_view(napi_env env, void*, void* hint) {
  const std::unique_ptr<View> view(static_cast<View*>(hint));
  napi_delete_reference(env, view->array_buffer);
  view->device->views().erase(view.get());
  release_memory(*view);
  view->device->remove_user();
}

// Null when it was collected.
napi_value array_buffer_of(Napi::Env env, const View& view) {
  napi_value array_buffer = nullptr;
  napi_get_reference_value(env, view.array_buffer, &array_buffer);
  return array_buffer;
}

bool is_detached(Napi::Env env, napi_value array_buffer) {
  bool detached = false;
  napi_is_detached_arraybuffer(env, array_buffer, &detached);
  return detached;
}

Napi::Value kind(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), kind_name(self<BufferHandle>(info, "Buffer.kind").buffer_kind));
}

Napi::Value bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(self<BufferHandle>(info, "Buffer.bytes").bytes));
}

Napi::Value view(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  BufferHandle& buffer = live_self<BufferHandle>(info, "Buffer.view");
  if (buffer.buffer_kind != ZO2_BUFFER_HOST) {
    fail(code::kInvalidArgument, "Buffer.view: a device buffer has no view; copy it to a host buffer first");
  }
  const uint64_t offset = integer_argument(info[0], "Buffer.view: offset", buffer.bytes);
  const uint64_t length = integer_argument(info[1], "Buffer.view: length", kLargestView);
  if (length > buffer.bytes - offset) {
    fail(code::kInvalidArgument,
         "Buffer.view: %" PRIu64 " bytes from offset %" PRIu64 " pass the end of a buffer of %" PRIu64 " bytes", length,
         offset, buffer.bytes);
  }
  if (length == 0) return Napi::ArrayBuffer::New(env, 0);
  unsigned char* begin = buffer.resource->host_pointer + offset;
  for (const View* known : buffer.device->views()) {
    if (known->memory != buffer.resource || known->begin != begin || known->end != begin + length) continue;
    if (const napi_value again = array_buffer_of(env, *known); again != nullptr && !is_detached(env, again))
      return Napi::Value(env, again);
  }
  auto made = std::make_unique<View>(View{buffer.device, buffer.resource, begin, begin + length, nullptr});
  napi_value array_buffer = nullptr;
  if (napi_create_external_arraybuffer(env, begin, length, collect_view, made.get(), &array_buffer) != napi_ok)
    throw Napi::Error::New(env);
  View* const view = made.release();
  view->device->add_user();
  view->device->views().insert(view);
  view->device->view_keeps();
  if (napi_create_reference(env, array_buffer, 1, &view->array_buffer) != napi_ok) throw Napi::Error::New(env);
  return Napi::Value(env, array_buffer);
}

}  // namespace

BufferHandle::BufferHandle(Napi::Env env, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> memory)
    : Handle(kKind, std::move(device), std::move(memory)), bytes(resource->bytes), buffer_kind(resource->buffer_kind) {
  Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<int64_t>(bytes));
}

void BufferHandle::on_release(Napi::Env env, bool collected) {
  if (collected) {
    // A collected handle leaves its views behind, to whoever has them: they keep the memory.
    for (const View* view : device->views()) {
      if (view->memory == resource) weaken(env, *view);
    }
  } else if (!device->closing()) {
    detach_views(env, *device, resource.get());
  }
  Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<int64_t>(bytes));
}

Napi::Function define_buffer(Napi::Env env) {
  return define_class(env, Kind::kBuffer, {getter<kind>("kind"), getter<bytes>("bytes"), method<view>("view")});
}

Napi::Promise create_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, zo2_buffer_kind kind,
                            uint64_t bytes) {
  const Environment::NewPromise creating = Environment::of(env).promise(env, device);
  const Promised promised = creating.promised;
  const auto create = [device, kind, bytes, promised] {
    const zo2_backend& backend = device->backend();
    zo2_error error{};
    zo2_buffer* raw = nullptr;
    if (const zo2_status status = backend.buffer_create(device->raw(), kind, bytes, &raw, &error); status != ZO2_OK) {
      error.status = status;
      return promised.reject(failure_of(error, "createBuffer"));
    }
    auto memory = std::make_shared<Resource>(device->table(), Kind::kBuffer, raw);
    memory->bytes = bytes;
    memory->buffer_kind = kind;
    memory->host_pointer =
        kind == ZO2_BUFFER_HOST ? static_cast<unsigned char*>(backend.buffer_host_pointer(raw)) : nullptr;
    promised.resolve([device, memory](Napi::Env env) -> Napi::Value {
      if (device->closing()) fail(code::kCancelled, "createBuffer: the device was closed meanwhile");
      return new_object(env, std::make_unique<BufferHandle>(env, device, memory));
    });
  };
  const auto cancel = [promised] {
    promised.reject(Failure(code::kCancelled, "createBuffer: the device was closed meanwhile"));
  };
  device->submitter().queue().post({create, cancel});
  return creating.promise;
}

void detach_views(Napi::Env env, DeviceCore& device, const Resource* memory) {
  for (View* view : device.views()) {
    if (view->memory == nullptr || (memory != nullptr && view->memory.get() != memory)) continue;
    const Napi::HandleScope scope(env);
    // A view that is collected may have been moved before: its memory is known to be free only when it is finalized.
    const napi_value array_buffer = array_buffer_of(env, *view);
    if (array_buffer == nullptr || is_detached(env, array_buffer) ||
        napi_detach_arraybuffer(env, array_buffer) != napi_ok)
      continue;
    weaken(env, *view);
    release_memory(*view);
  }
}

size_t moved_views(Napi::Env env, DeviceCore& device) {
  size_t moved = 0;
  for (const View* view : device.views()) {
    if (view->memory == nullptr) continue;
    const Napi::HandleScope scope(env);
    const napi_value array_buffer = array_buffer_of(env, *view);
    if (array_buffer != nullptr && is_detached(env, array_buffer)) ++moved;
  }
  return moved;
}

std::shared_ptr<Resource> memory_behind(DeviceCore& device, const unsigned char* begin, size_t length) {
  for (const View* view : device.views()) {
    if (view->memory != nullptr && view->begin <= begin && begin + length <= view->end) return view->memory;
  }
  return nullptr;
}

}  // namespace zo2::binding
