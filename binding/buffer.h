#pragma once

#include <napi.h>

#include <memory>

#include "handle.h"

namespace zo2::binding {

struct BufferHandle : Handle {
  static constexpr Kind kKind = Kind::kBuffer;
  BufferHandle(Napi::Env env, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource);
  const uint64_t bytes;
  const zo2_buffer_kind buffer_kind;

 protected:
  void on_release(Napi::Env env, bool collected) override;
};

Napi::Function define_buffer(Napi::Env env);

// Allocates on the submitter thread, in the order of the queue: after everything that was disposed before.
Napi::Promise create_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, zo2_buffer_kind kind,
                            uint64_t bytes);

// An ArrayBuffer over host memory. It keeps the memory, until it is collected or detached. The Buffer it came from
// holds it: collecting an ArrayBuffer frees its memory only at some later collection, and closing a device must not
// wait for that.
struct View {
  std::shared_ptr<DeviceCore> device;
  std::shared_ptr<Resource> memory;  // empty once detached
  const unsigned char* begin;
  const unsigned char* end;
  napi_ref array_buffer;  // strong until detached, or until the Buffer is collected
};

// Detaches the views of `memory`, or of the whole device when it is null, and lets go of their memory: but not of what
// JavaScript moved to another ArrayBuffer (ArrayBuffer.prototype.transfer), which may still be read, so that it stays
// until that one is collected.
void detach_views(Napi::Env env, DeviceCore& device, const Resource* memory);
// How many views of the device are known to have been moved in that way.
size_t moved_views(Napi::Env env, DeviceCore& device);

// What keeps the `length` bytes from `begin` on alive, when they lie in a view; null otherwise.
std::shared_ptr<Resource> memory_behind(DeviceCore& device, const unsigned char* begin, size_t length);

}  // namespace zo2::binding
