#include "buffer.h"

#include <cinttypes>
#include <cstring>
#include <string>

#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

const char* kind_name(zo2_buffer_kind kind) { return kind == ZO2_BUFFER_HOST ? "host" : "device"; }

Napi::Value kind(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), kind_name(self<BufferHandle>(info, "Buffer.kind").buffer_kind));
}

Napi::Value bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(self<BufferHandle>(info, "Buffer.bytes").bytes));
}

// `call` is "Buffer.read" or "Buffer.write".
const BufferHandle& host_self(const Napi::CallbackInfo& info, const char* call) {
  const BufferHandle& buffer = live_self<BufferHandle>(info, call);
  if (buffer.buffer_kind != ZO2_BUFFER_HOST) {
    fail(code::kInvalidArgument, "%s: this is a device buffer; copy to or from a host buffer with a command", call);
  }
  return buffer;
}

unsigned char* host_range(const BufferHandle& buffer, const Napi::Value& from, uint64_t length, const char* call) {
  const uint64_t offset = integer_argument(from, (std::string(call) + ": offset").c_str(), buffer.bytes);
  if (length > buffer.bytes - offset) {
    fail(code::kInvalidArgument,
         "%s: %" PRIu64 " bytes from offset %" PRIu64 " pass the end of a buffer of %" PRIu64 " bytes", call, length,
         offset, buffer.bytes);
  }
  return buffer.resource->host_pointer + offset;
}

Napi::Value read(const Napi::CallbackInfo& info) {
  const BufferHandle& buffer = host_self(info, "Buffer.read");
  const Bytes into = bytes_argument(info[1], "Buffer.read: into");
  const unsigned char* from = host_range(buffer, info[0], into.count, "Buffer.read");
  if (into.count != 0) std::memcpy(into.data, from, into.count);
  return info.Env().Undefined();
}

Napi::Value write(const Napi::CallbackInfo& info) {
  const BufferHandle& buffer = host_self(info, "Buffer.write");
  const Bytes bytes = bytes_argument(info[1], "Buffer.write: bytes");
  unsigned char* to = host_range(buffer, info[0], bytes.count, "Buffer.write");
  if (bytes.count != 0) std::memcpy(to, bytes.data, bytes.count);
  return info.Env().Undefined();
}

}  // namespace

BufferHandle::BufferHandle(Napi::Env env, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> memory)
    : Handle(kKind, std::move(device), std::move(memory)), bytes(resource->bytes), buffer_kind(resource->buffer_kind) {
  Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<int64_t>(bytes));
}

void BufferHandle::on_release(Napi::Env env, bool) {
  Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<int64_t>(bytes));
}

Napi::Function define_buffer(Napi::Env env) {
  return define_class(env, Kind::kBuffer,
                      {getter<kind>("kind"), getter<bytes>("bytes"), method<read>("read"), method<write>("write")});
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

}  // namespace zo2::binding
