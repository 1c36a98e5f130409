#include "buffer.h"

#include <cinttypes>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

const char* kind_name(zo2_buffer_kind kind) {
  return kind == ZO2_BUFFER_HOST ? "host" : kind == ZO2_BUFFER_DEVICE ? "device" : "file";
}

// Of the process's own memory, as far as the collector of garbage is to know.
int64_t memory_of(const BufferHandle& buffer) {
  return buffer.buffer_kind == ZO2_BUFFER_FILE ? 0 : static_cast<int64_t>(buffer.bytes);
}

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
    fail(code::kInvalidArgument, "%s: this is a %s buffer; copy to or from a host buffer with a command", call,
         kind_name(buffer.buffer_kind));
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

Napi::Value link(const Napi::CallbackInfo& info) {
  const BufferHandle& buffer = live_self<BufferHandle>(info, "Buffer.link");
  const std::string path = path_argument(info[0], "Buffer.link: path");
  const Environment::NewPromise linking = Environment::of(info.Env()).promise(info.Env(), buffer.device);
  const Promised promised = linking.promised;
  const auto link = [device = buffer.device, file = buffer.resource, path, promised] {
    zo2_error error{};
    if (device->backend().file_link(file->as<zo2_buffer>(), path.c_str(), &error) != ZO2_OK)
      return promised.reject(failure_of(error, "Buffer.link"));
    promised.resolve([](Napi::Env env) { return env.Undefined(); });
  };
  const auto cancel = [promised] {
    promised.reject(Failure(code::kCancelled, "Buffer.link: the device was closed meanwhile"));
  };
  buffer.device->submitter().queue().post({link, cancel});
  return linking.promise;
}

}  // namespace

BufferHandle::BufferHandle(Napi::Env env, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> memory)
    : Handle(kKind, std::move(device), std::move(memory)), bytes(resource->bytes), buffer_kind(resource->buffer_kind) {
  Napi::MemoryManagement::AdjustExternalMemory(env, memory_of(*this));
}

void BufferHandle::on_release(Napi::Env env, bool) {
  Napi::MemoryManagement::AdjustExternalMemory(env, -memory_of(*this));
}

Napi::Function define_buffer(Napi::Env env) {
  return define_class(env, Kind::kBuffer,
                      {getter<kind>("kind"), getter<bytes>("bytes"), method<read>("read"), method<write>("write"),
                       async_method<link>("link")});
}

namespace {

// Makes the object of the contract; fills `error` when it cannot.
using Create =
    std::function<zo2_status(const zo2_backend& backend, zo2_device* device, zo2_buffer** buffer, zo2_error* error)>;

Napi::Promise create(Napi::Env env, const std::shared_ptr<DeviceCore>& device, const char* call, zo2_buffer_kind kind,
                     Create make) {
  const Environment::NewPromise creating = Environment::of(env).promise(env, device);
  const Promised promised = creating.promised;
  const std::string closed = std::string(call) + ": the device was closed meanwhile";
  const auto create = [device, call, kind, make = std::move(make), promised, closed] {
    const zo2_backend& backend = device->backend();
    zo2_error error{};
    zo2_buffer* raw = nullptr;
    if (const zo2_status status = make(backend, device->raw(), &raw, &error); status != ZO2_OK) {
      error.status = status;
      return promised.reject(failure_of(error, call));
    }
    auto memory = std::make_shared<Resource>(device->table(), Kind::kBuffer, raw);
    memory->bytes = backend.buffer_bytes(raw);
    memory->buffer_kind = kind;
    memory->host_pointer =
        kind == ZO2_BUFFER_HOST ? static_cast<unsigned char*>(backend.buffer_host_pointer(raw)) : nullptr;
    promised.resolve([device, memory, closed](Napi::Env env) -> Napi::Value {
      if (device->closing()) throw Failure(code::kCancelled, closed);
      return new_object(env, std::make_unique<BufferHandle>(env, device, memory));
    });
  };
  const auto cancel = [promised, closed] { promised.reject(Failure(code::kCancelled, closed)); };
  device->submitter().queue().post({create, cancel});
  return creating.promise;
}

}  // namespace

Napi::Promise create_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, zo2_buffer_kind kind,
                            uint64_t bytes) {
  return create(env, device, "createBuffer", kind,
                [kind, bytes](const zo2_backend& backend, zo2_device* of, zo2_buffer** buffer, zo2_error* error) {
                  return backend.buffer_create(of, kind, bytes, buffer, error);
                });
}

Napi::Promise create_file_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, std::string folder,
                                 uint64_t bytes) {
  return create(env, device, "createFileBuffer", ZO2_BUFFER_FILE,
                [folder = std::move(folder), bytes](const zo2_backend& backend, zo2_device* of, zo2_buffer** buffer,
                                                    zo2_error* error) {
                  const zo2_file_options options{folder.c_str(), bytes};
                  return backend.file_create(of, &options, buffer, error);
                });
}

Napi::Promise open_file_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, std::string path) {
  return create(
      env, device, "openFileBuffer", ZO2_BUFFER_FILE,
      [path = std::move(path)](const zo2_backend& backend, zo2_device* of, zo2_buffer** buffer, zo2_error* error) {
        return backend.file_open(of, path.c_str(), buffer, error);
      });
}

}  // namespace zo2::binding
