#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "callbacks.h"
#include "device_core.h"
#include "resource.h"
#include "type_tags.h"

namespace zo2::binding {

// What a JavaScript object of a handle class wraps. Of the JavaScript thread.
class Handle {
 public:
  Handle(Kind kind, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource);
  virtual ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  // Gives up the handle: by dispose(), or because the object was collected. Idempotent.
  void release(Napi::Env env, bool collected);
  bool disposed() const { return released_ || device->closing(); }

  const Kind kind;
  const std::shared_ptr<DeviceCore> device;
  std::shared_ptr<Resource> resource;  // empty for a Device, and once released

 protected:
  virtual void on_release(Napi::Env, bool /*collected*/) {}

 private:
  bool released_ = false;
};

// The plain kinds; Buffer and Device add more in their own files.
struct StreamHandle : Handle {
  static constexpr Kind kKind = Kind::kStream;
  StreamHandle(std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource, std::string name)
      : Handle(kKind, std::move(device), std::move(resource)), name(std::move(name)) {}
  const std::string name;
};

struct EventHandle : Handle {
  static constexpr Kind kKind = Kind::kEvent;
  EventHandle(std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource)
      : Handle(kKind, std::move(device), std::move(resource)) {}
};

struct GateHandle : Handle {
  static constexpr Kind kKind = Kind::kGate;
  GateHandle(std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource)
      : Handle(kKind, std::move(device), std::move(resource)) {}

 protected:
  void on_release(Napi::Env env, bool collected) override;
};

struct LayoutHandle : Handle {
  static constexpr Kind kKind = Kind::kLayout;
  LayoutHandle(std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource, double segments)
      : Handle(kKind, std::move(device), std::move(resource)), segments(segments) {}
  const double segments;
};

struct ProgramHandle : Handle {
  static constexpr Kind kKind = Kind::kProgram;
  ProgramHandle(std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource, double ops)
      : Handle(kKind, std::move(device), std::move(resource)), ops(ops) {}
  const double ops;
};

// Makes the class of `kind` with `members`, and dispose() and disposed.
Napi::Function define_class(Napi::Env env, Kind kind, std::vector<Member> members);
Napi::Object new_object(Napi::Env env, std::unique_ptr<Handle> handle);

// The kind of a handle object; none for any other value.
std::optional<Kind> kind_of(Napi::Env env, napi_value value);
// The handle behind `value`, whatever its kind; `role` says what the value is for ("handles[3]"). ZO2_ERR_HANDLE
// otherwise.
Handle& any_handle(Napi::Env env, napi_value value, const char* role);
// The handle of one kind: ZO2_ERR_HANDLE naming both kinds otherwise.
Handle& handle_of(Napi::Env env, napi_value value, Kind kind, const char* role);
// Throws ZO2_ERR_DISPOSED when the handle, or its device, is gone.
void require_live(const Handle& handle, const char* role);

// The receiver of a method, which may be disposed (`self`) or may not (`live_self`).
template <class T>
T& self(const Napi::CallbackInfo& info, const char* member) {
  return static_cast<T&>(handle_of(info.Env(), info.This(), T::kKind, member));
}
template <class T>
T& live_self(const Napi::CallbackInfo& info, const char* member) {
  T& handle = self<T>(info, member);
  require_live(handle, member);
  return handle;
}

}  // namespace zo2::binding
