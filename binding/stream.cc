#include "device.h"
#include "values.h"

namespace zo2::binding {
namespace {

Napi::Value name(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), self<StreamHandle>(info, "Stream.name").name);
}

}  // namespace

Napi::Function define_stream(Napi::Env env) { return define_class(env, Kind::kStream, {getter<name>("name")}); }

Napi::Value create_stream(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createStream").device;
  const std::string name = string_argument(info[0], "createStream: name");
  zo2_error error{};
  zo2_stream* raw = nullptr;
  check(device->backend().stream_create(device->raw(), name.c_str(), &raw, &error), error, "createStream");
  auto resource = std::make_shared<Resource>(device->table(), Kind::kStream, raw);
  return new_object(info.Env(), std::make_unique<StreamHandle>(device, std::move(resource), name));
}

}  // namespace zo2::binding
