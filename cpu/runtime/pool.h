// The one thread pool of a device. The matrix product library runs with one thread inside it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace zo2::cpu {

class ThreadPool {
 public:
  // Starts `threads` - 1 workers (0 counts as 1); the caller of parallel_for is the last.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Runs body(chunk, worker) for every chunk in [0, chunks), chunks claimed one by one, worker in [0, size()); returns
  // when all have run. When bodies throw, every chunk still runs, and the exception of the lowest chunk is rethrown
  // here. One caller at a time: a mutex serialises; so a body must not call parallel_for of the same pool.
  void parallel_for(int64_t chunks, const std::function<void(int64_t chunk, unsigned worker)>& body);

 private:
  using Body = std::function<void(int64_t, unsigned)>;

  void stop();
  void serve(unsigned worker);
  void claim(const Body& body, int64_t chunks, unsigned worker);

  std::mutex serial_;  // held for the whole of a parallel_for

  std::mutex mutex_;  // guards the fields up to next_
  std::condition_variable wake_;
  std::condition_variable left_;
  const Body* body_ = nullptr;  // null between loops: a worker that wakes late has nothing to join
  int64_t chunks_ = 0;
  unsigned inside_ = 0;  // workers that joined the loop and have not left it
  bool stopping_ = false;
  std::exception_ptr failure_;
  int64_t failed_chunk_ = 0;

  std::atomic<int64_t> next_{0};
  // Counts the loops; changed under mutex_, read without it by workers that look for the next loop before they sleep.
  std::atomic<uint64_t> generation_{0};
  std::vector<std::thread> workers_;
};

}  // namespace zo2::cpu
