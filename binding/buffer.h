#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "handle.h"

namespace zo2::binding {

/*
 * JavaScript copies to and from host memory, and never sees it: an ArrayBuffer over memory of ours would be one whose
 * finalizer each runtime calls as it likes (Node later, on the JavaScript thread; Bun amid napi_detach_arraybuffer;
 * Deno there too, or on a thread of V8's collector), and Electron refuses to make one.
 */
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
// The same for a file, which takes its room in a folder.
Napi::Promise create_file_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, std::string folder,
                                 uint64_t bytes);
// Over a file that is there, to be read alone.
Napi::Promise open_file_buffer(Napi::Env env, const std::shared_ptr<DeviceCore>& device, std::string path);

}  // namespace zo2::binding
