// The CPU as a device: its thread pool, its streams, and the books of its memory.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "contract/shortage.h"
#include "contract/zo2.h"
#include "cpu/runtime/notifier.h"
#include "cpu/runtime/pool.h"
#include "cpu/runtime/stream.h"
#include "disk/engine.h"

namespace zo2::cpu {

// Streams, events, gates, buffers, layouts and programs share the device, so that one that is destroyed after
// device_close (an error of the caller) finds its memory books where they were.
class Device {
 public:
  // Throws Failure(DEVICE) for an ordinal other than 0 and Failure(INVALID_ARGUMENT) for more than 1024 threads.
  explicit Device(const zo2_device_options& options);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Cancels and joins every stream, then calls the notifications that are left. Not from a notification.
  void close();

  void describe(zo2_device_info* info);

  ThreadPool& pool() { return pool_; }
  Notifier& notifier() { return notifier_; }
  disk::Engine& files() { return files_; }
  // Whether kernels may use AVX2, FMA and F16C.
  bool vectorised() const { return vectorised_; }
  uint32_t delay_microseconds() const { return options_.delay_microseconds; }
  // Since the device was opened.
  double seconds() const;

  // A stream's place in the list that close() cancels, and the seed of its random delays. Throws Failure(CANCELLED)
  // after close().
  uint64_t enroll(Stream* stream);
  void dismiss(Stream* stream);
  void count(Stream::Counted counted);

  // Books `bytes` of a kind of memory. Throws Failure(OUT_OF_MEMORY) when DEVICE or HOST memory would pass its limit;
  // that of a FILE is its file system's.
  void reserve(zo2_buffer_kind kind, uint64_t bytes);
  void release(zo2_buffer_kind kind, uint64_t bytes);
  contract::Shortage& shortage() { return shortage_; }

  // Whether this process is a fork of the one that opened the device. A fork has none of its threads, and its locks may
  // be held for ever.
  bool forked() const;

 private:
  uint64_t& books(zo2_buffer_kind kind);  // with the lock

  const zo2_device_options options_;
  contract::Shortage shortage_{options_.refuse_allocation};
  const bool vectorised_;
  const pid_t process_;
  const std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  const uint64_t memory_total_;  // bytes of the host

  std::mutex memory_mutex_;
  uint64_t device_bytes_ = 0;
  uint64_t device_bytes_peak_ = 0;
  uint64_t host_bytes_ = 0;
  uint64_t file_bytes_ = 0;

  std::atomic<uint64_t> commands_{0};
  std::atomic<uint64_t> launches_{0};

  std::mutex streams_mutex_;
  std::vector<Stream*> streams_;
  uint64_t streams_made_ = 0;
  bool closed_ = false;

  Notifier notifier_;
  ThreadPool pool_;
  disk::Engine files_;
};

}  // namespace zo2::cpu
