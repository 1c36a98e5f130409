#pragma once

#include <napi.h>

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "device_core.h"
#include "handle.h"
#include "mailbox.h"
#include "promised.h"
#include "type_tags.h"

namespace zo2::binding {

/*
 * Everything this addon keeps for one Node environment (the main thread, or one worker thread): there is no other
 * state, so that workers neither share nor disturb each other. All members are of the environment's JavaScript thread.
 *
 * The end: process.exit() runs 'exit' listeners but no environment hooks, and then static destructors (among them those
 * of a linked BLAS) while our threads would still compute; a worker that is terminated runs hooks but no listeners. So
 * both are registered, and whichever comes first shuts down.
 */
class Environment {
 public:
  static void install(Napi::Env env);
  static Environment& of(Napi::Env env);
  ~Environment();

  Napi::FunctionReference& constructor(Kind kind) { return constructors_[static_cast<size_t>(kind)]; }
  // What the constructor that runs next adopts; empty when JavaScript called `new` itself.
  std::unique_ptr<Handle>& construction() { return construction_; }

  // Opens a device on a thread of its own; the promise resolves with the Device.
  Napi::Promise open_device(Napi::Env env, const zo2_backend* backend, const zo2_device_options& options);
  // The device's thread has ended.
  void forget(DeviceCore* core);

  struct NewPromise {
    Napi::Promise promise;
    Promised promised;
  };
  // A promise that keeps the event loop, `core` (may be null) and `kept` (a value, may be empty) alive until it is
  // settled.
  NewPromise promise(Napi::Env env, std::shared_ptr<DeviceCore> core, Napi::Value kept = {});
  void settle(Napi::Env env, uint64_t ticket, const Promised::Value& value, const Failure* failure);

  // Closes every device and waits for it. Nothing of this environment works afterwards.
  void shut_down();

 private:
  explicit Environment(Napi::Env env);

  struct Pending {
    Napi::Promise::Deferred deferred;
    std::shared_ptr<DeviceCore> core;
    Napi::Reference<Napi::Value> kept;
  };

  std::shared_ptr<Mailbox> mailbox_;
  std::array<Napi::FunctionReference, kKinds> constructors_;
  std::unique_ptr<Handle> construction_;
  std::vector<std::shared_ptr<DeviceCore>> devices_;
  std::unordered_map<uint64_t, Pending> pending_;
  uint64_t next_ticket_ = 0;
  bool shut_down_ = false;
};

}  // namespace zo2::binding
