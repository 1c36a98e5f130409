// Calls back into user code, on a thread that does nothing else: a slow callback delays no stream, and one that calls
// the table holds no lock of ours.
#pragma once

#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "contract/zo2.h"

namespace zo2::cpu {

// One pending call. Lists of these are made when event_notify is called, so that firing a record allocates nothing.
struct Notification {
  zo2_notify notify;
  void* user;
  zo2_error error;
};

class Notifier {
 public:
  Notifier();
  ~Notifier() { close(); }
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // Takes the list over; each is called once, in order. After close() they are called before this returns.
  void post(std::list<Notification>&& notifications) noexcept;

  // Calls what was posted, then stops. Not from a callback.
  void close();

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Notification> queue_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace zo2::cpu
