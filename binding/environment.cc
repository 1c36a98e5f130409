#include "environment.h"

#include <algorithm>
#include <utility>

#include "device.h"

namespace zo2::binding {

namespace {

Napi::Value on_exit(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).shut_down();
  return info.Env().Undefined();
}

}  // namespace

Environment::Environment(Napi::Env env) : mailbox_(std::make_shared<Mailbox>(env)) {}

Environment::~Environment() { shut_down(); }

void Environment::install(Napi::Env env) {
  auto* environment = new Environment(env);
  env.SetInstanceData<Environment>(environment);
  const auto end = [](void* data) { static_cast<Environment*>(data)->shut_down(); };
  if (napi_add_env_cleanup_hook(env, end, environment) != napi_ok) throw Napi::Error::New(env);
  const Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  napi_value listener = nullptr;
  if (napi_create_function(env, "zo2OnExit", NAPI_AUTO_LENGTH, throwing<on_exit>, nullptr, &listener) != napi_ok)
    throw Napi::Error::New(env);
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), listener});
}

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

Napi::Promise Environment::open_device(Napi::Env env, const zo2_backend* backend, const zo2_device_options& options) {
  if (shut_down_) fail(code::kCancelled, "openDevice: this environment is ending");
  auto core = std::make_shared<DeviceCore>(backend, mailbox_);
  const NewPromise opening = promise(env, core);
  const Promised promised = opening.promised;
  // The weak reference: a core that never gets its object must not keep itself alive through its own thread's closure.
  core->start(options, [promised, weak = std::weak_ptr<DeviceCore>(core)](const std::optional<Failure>& failure) {
    if (failure) return promised.reject(*failure);
    promised.resolve([weak](Napi::Env opened) -> Napi::Value {
      const std::shared_ptr<DeviceCore> live = weak.lock();
      if (live == nullptr || live->closing())
        fail(code::kCancelled, "openDevice: the device was closed while it opened");
      return new_device(opened, live);
    });
  });
  devices_.push_back(std::move(core));
  return opening.promise;
}

void Environment::forget(DeviceCore* core) {
  const auto found =
      std::find_if(devices_.begin(), devices_.end(), [core](const auto& device) { return device.get() == core; });
  if (found == devices_.end()) return;
  const std::shared_ptr<DeviceCore> ended = std::move(*found);
  devices_.erase(found);
  ended->join_finished();
  ended->resolve_close_promises();
}

Environment::NewPromise Environment::promise(Napi::Env env, std::shared_ptr<DeviceCore> core, Napi::Value kept) {
  const uint64_t ticket = next_ticket_++;
  const auto deferred = Napi::Promise::Deferred::New(env);
  if (core != nullptr) core->add_user();
  Pending pending{deferred, std::move(core), {}};
  if (!kept.IsEmpty()) pending.kept = Napi::Reference<Napi::Value>::New(kept, 1);
  pending_.emplace(ticket, std::move(pending));
  mailbox_->hold(env);
  return {deferred.Promise(), Promised(mailbox_, ticket)};
}

void Environment::settle(Napi::Env env, uint64_t ticket, const Promised::Value& value, const Failure* failure) {
  const auto found = pending_.find(ticket);
  if (found == pending_.end()) return;
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  mailbox_->release(env);
  // The result's own handle, if any, becomes a user of the device before the promise ceases to be one.
  try {
    if (failure != nullptr) throw Failure(*failure);
    pending.deferred.Resolve(value(env));
  } catch (const Napi::Error& error) {
    pending.deferred.Reject(error.Value());
  } catch (...) {
    pending.deferred.Reject(to_js(env, current_failure("zo2")).Value());
  }
  if (pending.core != nullptr) pending.core->remove_user();
}

void Environment::shut_down() {
  if (std::exchange(shut_down_, true)) return;
  for (const auto& device : devices_) device->request_close();
  for (const auto& device : devices_) device->open_gates();
  for (const auto& device : devices_) device->wait_until_closed();
  mailbox_->close();
  devices_.clear();
}

void Promised::resolve(Value value) const {
  mailbox_->post([ticket = ticket_, value = std::move(value)](Environment& environment, Napi::Env env) {
    environment.settle(env, ticket, value, nullptr);
  });
}

void Promised::reject(const Failure& failure) const {
  mailbox_->post([ticket = ticket_, failure](Environment& environment, Napi::Env env) {
    environment.settle(env, ticket, {}, &failure);
  });
}

}  // namespace zo2::binding
