#include "cuda/runtime/watcher.h"

#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/thread.h"

namespace zo2::cuda {
namespace {

// So many records may wait unexpected before their stream looks whether the first has passed.
constexpr size_t kUnexpected = 256;

}  // namespace

Watcher::Watcher(const Device& device, const std::string& name) : device_(device) {
  thread_ = start_thread("zo2 " + name, [this] { serve(); });
}

void Watcher::push(std::shared_ptr<Record> record) {
  std::list<Notification> due;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(record));
    if (queue_.size() > kUnexpected) due = fire_unexpected();
  }
  changed_.notify_one();
  call(due);
}

std::list<Notification> Watcher::fire_unexpected() {
  std::list<Notification> due;
  // What is expected, the thread may be waiting for.
  while (!queue_.empty() && queue_.front()->ordinal() > expected_) {
    const cudaEvent_t event = queue_.front()->event();
    const cudaError_t status = event == nullptr ? cudaSuccess : cudaEventQuery(event);
    ignore(status);
    if (status == cudaErrorNotReady) break;
    due.splice(due.end(), fire_front(status));
  }
  return due;
}

std::list<Notification> Watcher::fire_front(cudaError_t status) {
  // A device that is lost waits for no drive. Who hears of the end gives the memory away.
  if (status != cudaSuccess) device_.files().wait_until_unused();
  const std::shared_ptr<Record> front = std::move(queue_.front());
  queue_.pop_front();
  fired_ = front->ordinal();
  return front->fire(status);
}

void Watcher::expect(uint64_t ordinal) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (expected_ < ordinal) expected_ = ordinal;
  }
  changed_.notify_one();
}

void Watcher::cancel(Lane& lane) {
  std::lock_guard<std::mutex> lock(mutex_);
  lane.cancel(fired_ + 1);
}

void Watcher::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  std::lock_guard<std::mutex> lock(joining_);
  if (thread_.joinable()) thread_.join();
}

void Watcher::serve() {
  device_.enter_quietly();
  for (;;) {
    std::shared_ptr<Record> front;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || (!queue_.empty() && queue_.front()->ordinal() <= expected_); });
      if (queue_.empty()) return;
      front = queue_.front();
    }
    const cudaError_t status = front->event() == nullptr ? cudaSuccess : cudaEventSynchronize(front->event());
    ignore(status);
    std::list<Notification> due;
    {
      // Under the lock, so that a cancellation comes before it or behind it.
      std::lock_guard<std::mutex> lock(mutex_);
      due = fire_front(status);
    }
    call(due);
  }
}

}  // namespace zo2::cuda
