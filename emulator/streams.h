// Streams of the emulated device: queues of operations, run one at a time by whichever thread waits for them, by the
// thread that enqueues (eager), or by the progress thread. Everything here is called with runtime_lock() held, and
// holds it while an operation runs; only host functions run without it.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace zo2::emu {

// A mutex that knows whether somebody waits for it, so that a thread that runs many operations can let others in
// between.
class RuntimeLock {
 public:
  void lock() {
    ++wanted_;
    mutex_.lock();
    --wanted_;
  }
  void unlock() { mutex_.unlock(); }
  // Called by the holder: lets those that wait have the lock, then takes it back.
  void let_others_in();

 private:
  std::mutex mutex_;
  std::atomic<int> wanted_{0};
};

RuntimeLock& runtime_lock();

struct Stream;

// The operations of `stream` up to and including `number`.
struct Prefix {
  std::shared_ptr<Stream> stream;
  uint64_t number = 0;

  bool done() const;
};

struct Operation {
  uint64_t id = 0;      // over all streams, as in hooks.h
  uint64_t number = 0;  // within its stream, from 1
  std::function<void(uint64_t id)> body;
  bool host_function = false;
  std::vector<Prefix> needs;
  std::chrono::steady_clock::time_point since;
};

struct Stream : std::enable_shared_from_this<Stream> {
  int number = 0;        // 0: the default stream
  bool blocking = true;  // against the default stream
  bool destroyed = false;
  bool busy = false;  // its host function runs
  uint64_t enqueued = 0;
  uint64_t done = 0;
  std::deque<Operation> queue;
  std::vector<Prefix> needs;  // of the next operation

  Prefix all() { return {shared_from_this(), enqueued}; }
};

std::shared_ptr<Stream> create_stream(bool blocking);
// Null for a handle that is none, or no more.
std::shared_ptr<Stream> find_stream(cudaStream_t handle);
// What is queued still runs.
void destroy_stream(const std::shared_ptr<Stream>& stream);
// Ends the threads of the runtime once no stream is left; called without the lock.
void stop_when_unused();

// Appends an operation and makes as much progress as the mode allows. `name` is a literal.
void enqueue(const std::shared_ptr<Stream>& stream, const char* name, std::function<void(uint64_t id)> body,
             bool host_function = false);
// Returns when all of `prefix` is done, or the device has failed.
void wait_for(const Prefix& prefix);
// Of all streams; the host has then seen their ends.
void wait_for_all();
// Progress that somebody who polls gives in random mode.
void poll_progress();

// cudaSuccess, or the error that every call returns since an operation failed.
cudaError_t device_status();
// Discards everything queued and forgets the failure.
void reset_streams();
// Forgets the failure when nothing of the device is left.
void forget_failure_when_unused();

}  // namespace zo2::emu
