#include "mailbox.h"

#include <utility>

#include "environment.h"
#include "errors.h"

namespace zo2::binding {

Mailbox::Mailbox(Napi::Env env) {
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "zo2.mailbox"), 0, 1, nullptr, nullptr, this, wake, &wake_);
  if (status != napi_ok) throw Napi::Error::New(env);
  napi_unref_threadsafe_function(env, wake_);
}

void Mailbox::hold(Napi::Env env) {
  if (holds_++ == 0) napi_ref_threadsafe_function(env, wake_);
}

void Mailbox::release(Napi::Env env) {
  if (--holds_ == 0) napi_unref_threadsafe_function(env, wake_);
}

void Mailbox::close() {
  std::deque<Message> dropped;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(messages_);
}

void Mailbox::post(Message message) {
  // The wake-up happens under the lock: close() then knows that no thread still holds on to the thread-safe function.
  std::lock_guard lock(mutex_);
  if (closed_) return;
  const bool first = messages_.empty();
  messages_.push_back(std::move(message));
  if (first) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Mailbox::wake(napi_env raw, napi_value, void* context, void*) {
  if (raw == nullptr) return;
  auto& mailbox = *static_cast<Mailbox*>(context);
  std::deque<Message> messages;
  {
    std::lock_guard lock(mailbox.mutex_);
    messages.swap(mailbox.messages_);
  }
  Napi::Env env(raw);
  for (Message& message : messages) {
    // Only an environment that is shutting down makes a message throw; it has nobody left to tell.
    try {
      Napi::HandleScope scope(env);
      message(Environment::of(env), env);
    } catch (const std::exception&) {
    }
  }
}

}  // namespace zo2::binding
