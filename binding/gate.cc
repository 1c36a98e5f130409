#include "device.h"

namespace zo2::binding {
namespace {

Napi::Value open(const Napi::CallbackInfo& info) {
  GateHandle& gate = live_self<GateHandle>(info, "Gate.open");
  gate.device->backend().gate_open(gate.resource->as<zo2_gate>());
  return info.Env().Undefined();
}

}  // namespace

void GateHandle::on_release(Napi::Env, bool) {
  // Nobody could open it any more, and a stream may stand before it.
  if (!device->closing()) device->backend().gate_open(resource->as<zo2_gate>());
}

Napi::Function define_gate(Napi::Env env) { return define_class(env, Kind::kGate, {method<open>("open")}); }

Napi::Value create_gate(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createGate").device;
  zo2_error error{};
  zo2_gate* raw = nullptr;
  check(device->backend().gate_create(device->raw(), &raw, &error), error, "createGate");
  auto resource = std::make_shared<Resource>(device->table(), Kind::kGate, raw);
  return new_object(info.Env(), std::make_unique<GateHandle>(device, std::move(resource)));
}

}  // namespace zo2::binding
