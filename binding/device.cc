#include "device.h"

#include "buffer.h"
#include "commands.h"
#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

Napi::Value kind(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), self<DeviceHandle>(info, "Device.kind").device->backend().kind);
}

Napi::Value waits(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(self<DeviceHandle>(info, "Device.waits").device->waits()));
}

Napi::Value info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const DeviceCore& device = *live_self<DeviceHandle>(info, "Device.info").device;
  zo2_error error{};
  zo2_device_info known{};
  check(device.backend().device_info(device.raw(), &known, &error), error, "Device.info");
  Napi::Object out = Napi::Object::New(env);
  const auto number = [&](const char* name, uint64_t value) {
    out.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  out.Set("kind", known.kind);
  out.Set("name", known.name);
  out.Set("features", known.features);
  number("threads", known.threads);
  out.Set("threadsLimitedBy", known.threads_limited_by);
  out.Set("memoryLimitedBy", known.memory_limited_by);
  number("memoryTotal", known.memory_total);
  number("memoryFree", known.memory_free);
  number("memoryLimit", known.memory_limit);
  number("deviceBytes", known.device_bytes);
  number("deviceBytesPeak", known.device_bytes_peak);
  number("hostBytes", known.host_bytes);
  number("fileBytes", known.file_bytes);
  number("commands", known.commands);
  number("launches", known.launches);
  number("allocations", known.allocations);
  return out;
}

Napi::Value create_buffer_method(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createBuffer").device;
  const std::string kind = string_argument(info[0], "createBuffer: kind");
  if (kind != "device" && kind != "host") {
    fail(code::kInvalidArgument,
         "createBuffer: kind is \"%s\"; it must be \"device\" or \"host\", or see createFileBuffer", kind.c_str());
  }
  const uint64_t bytes = integer_argument(info[1], "createBuffer: bytes", (uint64_t{1} << 53) - 1);
  return create_buffer(info.Env(), device, kind == "host" ? ZO2_BUFFER_HOST : ZO2_BUFFER_DEVICE, bytes);
}

Napi::Value open_file_method(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "openFileBuffer").device;
  return open_file_buffer(info.Env(), device, path_argument(info[0], "openFileBuffer: path"));
}

Napi::Value file_buffer_method(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createFileBuffer").device;
  std::string folder = path_argument(info[0], "createFileBuffer: folder");
  const uint64_t bytes = integer_argument(info[1], "createFileBuffer: bytes", (uint64_t{1} << 53) - 1);
  return create_file_buffer(info.Env(), device, std::move(folder), bytes);
}

std::vector<std::shared_ptr<Resource>> resources_of(const Napi::Value& value, const DeviceCore& device) {
  if (!value.IsArray()) fail(code::kInvalidArgument, "submit: handles must be an array");
  const auto array = value.As<Napi::Array>();
  std::vector<std::shared_ptr<Resource>> resources;
  const uint32_t count = array.Length();
  for (uint32_t i = 0; i < count; ++i) {
    const Napi::HandleScope scope(array.Env());
    const std::string role = "submit: handles[" + std::to_string(i) + "]";
    const Handle& handle = any_handle(array.Env(), array.Get(i), role.c_str());
    require_live(handle, role.c_str());
    if (handle.resource == nullptr)
      fail(code::kHandle, "%s is a Device where an object of this device is needed", role.c_str());
    if (handle.device.get() != &device) {
      fail(code::kHandle, "%s is a %s of another device; make it with this one", role.c_str(),
           kind_info(handle.kind).name);
    }
    resources.push_back(handle.resource);
  }
  return resources;
}

Napi::Value submit(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "submit").device;
  // The handles first: reading an array may run JavaScript (a getter, a Proxy), which must not happen while the words
  // are in use.
  std::vector<std::shared_ptr<Resource>> resources = resources_of(info[1], *device);
  const Doubles words = doubles_argument(info[0], "submit: words");
  require_live(self<DeviceHandle>(info, "submit"), "submit");
  std::shared_ptr<CommandList> list = decode(words.data, words.count, std::move(resources), "submit");
  if (!list->commands.empty()) device->submitter().submit(std::move(list));
  return info.Env().Undefined();
}

Napi::Value close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceHandle& handle = self<DeviceHandle>(info, "Device.close");
  const std::shared_ptr<DeviceCore> device = handle.device;
  handle.release(env, false);
  const Environment::NewPromise closing = Environment::of(env).promise(env, device);
  if (device->ended()) {
    closing.promised.resolve([](Napi::Env settled) { return settled.Undefined(); });
  } else {
    device->add_close_promise(closing.promised);
  }
  return closing.promise;
}

}  // namespace

void DeviceHandle::on_release(Napi::Env, bool collected) {
  // A collected Device goes when its last handle has gone, as any user of it.
  if (!collected) device->request_close();
}

Napi::Function define_device(Napi::Env env) {
  return define_class(env, Kind::kDevice,
                      {
                          getter<kind>("kind"),
                          getter<waits>("waits"),
                          method<info>("info"),
                          method<create_stream>("createStream"),
                          method<create_event>("createEvent"),
                          method<create_gate>("createGate"),
                          async_method<create_buffer_method>("createBuffer"),
                          async_method<file_buffer_method>("createFileBuffer"),
                          async_method<open_file_method>("openFileBuffer"),
                          method<create_layout>("createLayout"),
                          method<create_program>("createProgram"),
                          method<submit>("submit"),
                          async_method<convert>("convert"),
                          async_method<quantise>("quantise"),
                          async_method<dequantise>("dequantise"),
                          async_method<close>("close"),
                      });
}

Napi::Object new_device(Napi::Env env, std::shared_ptr<DeviceCore> core) {
  return new_object(env, std::make_unique<DeviceHandle>(std::move(core)));
}

}  // namespace zo2::binding
