#pragma once

#include <functional>
#include <memory>

#include "errors.h"
#include "mailbox.h"

namespace zo2::binding {

// The other end of a JavaScript promise (Environment::promise makes it), to be settled from any thread, once. It is a
// number and a way to the JavaScript thread, so that it may outlive the environment: settling it then does nothing.
class Promised {
 public:
  // Called on the JavaScript thread; a Failure that it throws becomes the rejection.
  using Value = std::function<Napi::Value(Napi::Env)>;

  Promised(std::shared_ptr<Mailbox> mailbox, uint64_t ticket) : mailbox_(std::move(mailbox)), ticket_(ticket) {}
  void resolve(Value value) const;
  void reject(const Failure& failure) const;

 private:
  std::shared_ptr<Mailbox> mailbox_;
  uint64_t ticket_;
};

}  // namespace zo2::binding
