#pragma once

#include <napi.h>

#include <memory>

#include "handle.h"

namespace zo2::binding {

struct DeviceHandle : Handle {
  static constexpr Kind kKind = Kind::kDevice;
  explicit DeviceHandle(std::shared_ptr<DeviceCore> device) : Handle(kKind, std::move(device), nullptr) {}

 protected:
  void on_release(Napi::Env env, bool collected) override;
};

Napi::Function define_device(Napi::Env env);
Napi::Object new_device(Napi::Env env, std::shared_ptr<DeviceCore> core);

// The classes of the smaller handles, each in its own file.
Napi::Function define_stream(Napi::Env env);
Napi::Function define_event(Napi::Env env);
Napi::Function define_gate(Napi::Env env);
Napi::Function define_layout(Napi::Env env);
Napi::Function define_program(Napi::Env env);

// Device.createStream and its like.
Napi::Value create_stream(const Napi::CallbackInfo& info);
Napi::Value create_event(const Napi::CallbackInfo& info);
Napi::Value create_gate(const Napi::CallbackInfo& info);
Napi::Value create_layout(const Napi::CallbackInfo& info);
Napi::Value create_program(const Napi::CallbackInfo& info);
// In convert.cc.
Napi::Value convert(const Napi::CallbackInfo& info);
Napi::Value quantise(const Napi::CallbackInfo& info);
Napi::Value dequantise(const Napi::CallbackInfo& info);

}  // namespace zo2::binding
