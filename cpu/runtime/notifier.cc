#include "cpu/runtime/notifier.h"

#include "cpu/runtime/thread.h"

namespace zo2::cpu {
namespace {

void call(const std::list<Notification>& notifications) {
  for (const Notification& one : notifications) one.notify(one.user, &one.error);
}

}  // namespace

Notifier::Notifier() {
  thread_ = start_thread("zo2 notify", [this] { serve(); });
}

void Notifier::post(std::list<Notification>&& notifications) noexcept {
  if (notifications.empty()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!closed_) {
      queue_.splice(queue_.end(), notifications);
      changed_.notify_one();
      return;
    }
  }
  call(notifications);
}

void Notifier::close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Notifier::serve() {
  for (;;) {
    std::list<Notification> batch;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) return;
      batch.swap(queue_);
    }
    call(batch);
  }
}

}  // namespace zo2::cpu
