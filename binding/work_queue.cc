#include "work_queue.h"

#include <utility>

namespace zo2::binding {

bool WorkQueue::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

void WorkQueue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
}

bool WorkQueue::stopped() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

std::optional<Task> WorkQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
  if (stopped_) return std::nullopt;
  Task task = std::move(tasks_.front());
  tasks_.pop_front();
  return task;
}

std::deque<Task> WorkQueue::drain() {
  std::lock_guard lock(mutex_);
  return std::exchange(tasks_, {});
}

}  // namespace zo2::binding
