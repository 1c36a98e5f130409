// A flag that threads wait for, and that opens once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace zo2::cpu {

class Latch {
 public:
  void open() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }

  // Blocks until the latch is open (true) or `cancelled` is set (false). Whoever sets `cancelled` calls wake()
  // afterwards.
  bool wait(const std::atomic<bool>& cancelled) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return open_ || cancelled.load(); });
    return open_;
  }

  // Makes waiting threads look at their `cancelled`. The lock is taken so that no waiter is between its look and its
  // sleep.
  void wake() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

}  // namespace zo2::cpu
