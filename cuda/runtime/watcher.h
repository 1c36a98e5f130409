// Fires the records of one stream, in order, on a thread of its own, so that a stream that stands still delays only its
// own callbacks.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cuda/runtime/event.h"

namespace zo2::cuda {

class Watcher {
 public:
  // `device` outlives the watcher. Throws Failure when no thread can be started.
  Watcher(const Device& device, const std::string& name);
  ~Watcher() { stop(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Takes records in the order of the stream. The thread sleeps until somebody expects one of those that it holds.
  void push(std::shared_ptr<Record> record);
  // Somebody wants to hear of the record with this ordinal.
  void expect(uint64_t ordinal);

  // Cancels the stream's lane from the first record on that has not fired.
  void cancel(Lane& lane);
  // Fires what is left, which has passed or is about to, and joins the thread. Any number of times, but not from a
  // notification of this stream.
  void stop();

 private:
  void serve();
  std::list<Notification> fire_front(cudaError_t status);
  std::list<Notification> fire_unexpected();

  const Device& device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Record>> queue_;
  uint64_t expected_ = 0;  // the largest ordinal that somebody wants to hear of
  uint64_t fired_ = 0;     // ordinal of the last record that fired
  bool stopping_ = false;
  std::mutex joining_;
  std::thread thread_;
};

}  // namespace zo2::cuda
