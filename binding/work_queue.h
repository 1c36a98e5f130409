#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

namespace zo2::binding {

// Something for a device's thread to do. When the queue is stopped first, `cancel` is called instead of `run` (unless
// `always`: then `run` is called all the same, because it only hands something back). Either is called exactly once, on
// the thread that owns the queue.
struct Task {
  std::function<void()> run;
  std::function<void()> cancel;
  bool always = false;
};

// First in, first out, from any thread to one. Pushing never waits for work: the lock is held for a list operation
// only.
class WorkQueue {
 public:
  // False once stopped; the task is then dropped without any call.
  bool post(Task task);
  // No further tasks are taken, and `next` gives up. Idempotent.
  void stop();
  bool stopped() const;
  // Blocks until there is a task; none when stopped.
  std::optional<Task> next();
  // What was left when the queue stopped.
  std::deque<Task> drain();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool stopped_ = false;
};

}  // namespace zo2::binding
