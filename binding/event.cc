#include "device.h"
#include "environment.h"

namespace zo2::binding {
namespace {

Napi::Value done(const Napi::CallbackInfo& info) {
  EventHandle& event = live_self<EventHandle>(info, "Event.done");
  const Environment::NewPromise waiting = Environment::of(info.Env()).promise(info.Env(), event.device);
  event.device->submitter().notify_when_fired(event.resource, [promised = waiting.promised](const zo2_error& outcome) {
    if (outcome.status == ZO2_OK) return promised.resolve([](Napi::Env env) { return env.Undefined(); });
    promised.reject(failure_of(outcome, "Event.done"));
  });
  return waiting.promise;
}

Napi::Value time(const Napi::CallbackInfo& info) {
  EventHandle& event = live_self<EventHandle>(info, "Event.time");
  zo2_error error{};
  double seconds = 0;
  check(event.device->backend().event_time(event.resource->as<zo2_event>(), &seconds, &error), error, "Event.time");
  return Napi::Number::New(info.Env(), seconds);
}

}  // namespace

Napi::Function define_event(Napi::Env env) {
  return define_class(env, Kind::kEvent, {async_method<done>("done"), method<time>("time")});
}

Napi::Value create_event(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createEvent").device;
  zo2_error error{};
  zo2_event* raw = nullptr;
  check(device->backend().event_create(device->raw(), &raw, &error), error, "createEvent");
  auto resource = std::make_shared<Resource>(device->table(), Kind::kEvent, raw);
  return new_object(info.Env(), std::make_unique<EventHandle>(device, std::move(resource)));
}

}  // namespace zo2::binding
