#pragma once

#include <node_api.h>

#include <deque>
#include <functional>
#include <mutex>

#include <napi.h>

namespace zo2::binding {

class Environment;

// The only way from another thread to the JavaScript thread of one environment. Messages lie in a queue of ours and the
// thread-safe function merely wakes the event loop, so that a dying environment can drop what was not delivered.
//
// The event loop stays alive while `hold`s outnumber `release`s (one per pending promise), not because a device is
// open.
class Mailbox {
 public:
  using Message = std::function<void(Environment&, Napi::Env)>;

  // JavaScript thread.
  explicit Mailbox(Napi::Env env);
  void hold(Napi::Env env);
  void release(Napi::Env env);
  // No further message is taken or delivered; called before the environment frees the thread-safe function.
  void close();

  // Any thread.
  void post(Message message);

 private:
  static void wake(napi_env env, napi_value callback, void* context, void* data);

  std::mutex mutex_;
  std::deque<Message> messages_;
  bool closed_ = false;
  napi_threadsafe_function wake_ = nullptr;
  size_t holds_ = 0;
};

}  // namespace zo2::binding
