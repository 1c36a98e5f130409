#include "handle.h"

#include <utility>

#include "environment.h"

namespace zo2::binding {
namespace {

void finalize(napi_env env, void* data, void*) {
  const std::unique_ptr<Handle> handle(static_cast<Handle*>(data));
  // Only an environment that is shutting down makes this throw; then there is nothing left to account to.
  try {
    handle->release(env, true);
  } catch (const Napi::Error&) {
  }
}

template <Kind kind>
Napi::Value construct(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::unique_ptr<Handle> handle = std::move(Environment::of(env).construction());
  const KindInfo& known = kind_info(kind);
  if (handle == nullptr || handle->kind != kind) {
    fail(code::kInvalidArgument, "a %s cannot be made with new; use %s", known.name, known.made_by);
  }
  const Napi::Object object = info.This().As<Napi::Object>();
  if (napi_wrap(env, object, handle.get(), finalize, nullptr, nullptr) != napi_ok) throw Napi::Error::New(env);
  static_cast<void>(handle.release());  // the object's finalizer owns it
  if (napi_type_tag_object(env, object, &known.tag) != napi_ok) throw Napi::Error::New(env);
  return object;
}

template <Kind kind>
Napi::Value dispose(const Napi::CallbackInfo& info) {
  handle_of(info.Env(), info.This(), kind, "dispose").release(info.Env(), false);
  return info.Env().Undefined();
}

template <Kind kind>
Napi::Value disposed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), handle_of(info.Env(), info.This(), kind, "disposed").disposed());
}

struct KindCallbacks {
  napi_callback construct;
  Member dispose;
  Member disposed;
};

template <Kind kind>
KindCallbacks callbacks() {
  return {throwing<construct<kind>>, method<dispose<kind>>("dispose"), getter<disposed<kind>>("disposed")};
}

KindCallbacks callbacks_of(Kind kind) {
  switch (kind) {
    case Kind::kStream:
      return callbacks<Kind::kStream>();
    case Kind::kEvent:
      return callbacks<Kind::kEvent>();
    case Kind::kGate:
      return callbacks<Kind::kGate>();
    case Kind::kBuffer:
      return callbacks<Kind::kBuffer>();
    case Kind::kLayout:
      return callbacks<Kind::kLayout>();
    case Kind::kProgram:
      return callbacks<Kind::kProgram>();
    case Kind::kDevice:
      break;
  }
  return callbacks<Kind::kDevice>();
}

// "a Buffer", "a number", "null": what a value is, for a message.
std::string describe(Napi::Env env, napi_value raw) {
  if (const auto kind = kind_of(env, raw)) return std::string("a ") + kind_info(*kind).name;
  const Napi::Value value(env, raw);
  if (value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsNumber()) return "a number";
  if (value.IsString()) return "a string";
  if (value.IsArray()) return "an array";
  return value.IsObject() ? "an object" : "no object";
}

Handle& unwrap(Napi::Env env, napi_value value) {
  void* data = nullptr;
  if (napi_unwrap(env, value, &data) != napi_ok) throw Napi::Error::New(env);
  return *static_cast<Handle*>(data);
}

}  // namespace

Handle::Handle(Kind kind, std::shared_ptr<DeviceCore> device, std::shared_ptr<Resource> resource)
    : kind(kind), device(std::move(device)), resource(std::move(resource)) {
  this->device->add_user();
}

Handle::~Handle() {
  if (!released_) device->remove_user();
}

void Handle::release(Napi::Env env, bool collected) {
  if (released_) return;
  on_release(env, collected);
  released_ = true;
  resource.reset();
  device->remove_user();
}

Napi::Function define_class(Napi::Env env, Kind kind, std::vector<Member> members) {
  const KindCallbacks own = callbacks_of(kind);
  napi_value made = nullptr;
  if (napi_define_class(env, kind_info(kind).name, NAPI_AUTO_LENGTH, own.construct, nullptr, 0, nullptr, &made) !=
      napi_ok) {
    throw Napi::Error::New(env);
  }
  members.push_back(own.dispose);
  members.push_back(own.disposed);
  // Members go on the prototype as plain functions, not through napi_define_class: that one lets V8 reject a wrong
  // receiver with an error that has no code.
  const Napi::Function result(env, made);
  define_members(env, result.Get("prototype"), members);
  return result;
}

Napi::Object new_object(Napi::Env env, std::unique_ptr<Handle> handle) {
  Environment& environment = Environment::of(env);
  const Kind kind = handle->kind;
  environment.construction() = std::move(handle);
  return environment.constructor(kind).New({});
}

std::optional<Kind> kind_of(Napi::Env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  if (type != napi_object) return std::nullopt;
  // Most frequent first.
  for (const Kind kind :
       {Kind::kBuffer, Kind::kEvent, Kind::kStream, Kind::kProgram, Kind::kLayout, Kind::kDevice, Kind::kGate}) {
    bool tagged = false;
    if (napi_check_object_type_tag(env, value, &kind_info(kind).tag, &tagged) == napi_ok && tagged) return kind;
  }
  return std::nullopt;
}

Handle& any_handle(Napi::Env env, napi_value value, const char* role) {
  if (!kind_of(env, value))
    fail(code::kHandle, "%s: a native handle is needed, got %s", role, describe(env, value).c_str());
  return unwrap(env, value);
}

Handle& handle_of(Napi::Env env, napi_value value, Kind kind, const char* role) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  bool tagged = false;
  if (type == napi_object) napi_check_object_type_tag(env, value, &kind_info(kind).tag, &tagged);
  if (!tagged)
    fail(code::kHandle, "%s: a %s is needed, got %s", role, kind_info(kind).name, describe(env, value).c_str());
  return unwrap(env, value);
}

void require_live(const Handle& handle, const char* role) {
  if (!handle.disposed()) return;
  const char* name = kind_info(handle.kind).name;
  if (handle.device->closing() && handle.kind != Kind::kDevice) {
    fail(code::kDisposed, "%s: the device of this %s was closed; open a device and make a new one", role, name);
  }
  fail(code::kDisposed, "%s: this %s was disposed; make a new one with %s", role, name, kind_info(handle.kind).made_by);
}

}  // namespace zo2::binding
