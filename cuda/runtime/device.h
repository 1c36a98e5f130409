// A GPU as a device of the contract: its streams, its clock, and the books of its memory.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "contract/device_count.h"
#include "contract/shortage.h"
#include "contract/zo2.h"
#include "cuda/launch.h"
#include "cuda/runtime/clock.h"
#include "cuda/runtime/event_pool.h"
#include "cuda/runtime/lane.h"
#include "cuda/runtime/scratch.h"
#include "cuda/runtime/stream.h"
#include "disk/engine.h"

namespace zo2::cuda {

// Streams, events, gates, buffers, layouts and programs share the device, so that one that is destroyed after
// device_close (an error of the caller) finds what it needs where it was.
class Device {
 public:
  // Throws Failure(DEVICE) for an ordinal that does not exist or a machine without a driver, and Failure(UNSUPPORTED)
  // for a GPU that is too old.
  explicit Device(const zo2_device_options& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Cancels and joins every stream. Not from a notification.
  void close();

  void describe(zo2_device_info* info);

  // Makes this the calling thread's current device. Every function of the table begins with it. The quiet one is for
  // where nothing can be said.
  void enter() const;
  void enter_quietly() const noexcept;

  const Traits& traits() const { return traits_; }
  Clock& clock() { return *clock_; }
  EventPool& events() { return *events_; }
  WordsPool& words() { return *words_; }
  ScratchBook& scratch() { return scratch_; }
  disk::Engine& files() const { return *files_; }
  uint32_t delay_microseconds() const { return options_.delay_microseconds; }

  // A stream's place in the list that close() cancels, and the seed of its random delays. Throws Failure(CANCELLED)
  // after close().
  uint64_t enroll(Stream* stream);
  void dismiss(Stream* stream);
  void count(Stream::Counted counted);

  // Books `bytes` of a kind of memory. Throws Failure(OUT_OF_MEMORY) when that would pass the limit, or what there is;
  // that of a FILE is its file system's.
  void reserve(zo2_buffer_kind kind, uint64_t bytes);
  void release(zo2_buffer_kind kind, uint64_t bytes);
  contract::Shortage& shortage() { return shortage_; }

  // Whether this process is a fork of the one that opened the device. A fork cannot use CUDA, and has none of the
  // threads.
  bool forked() const;

 private:
  uint64_t& books(zo2_buffer_kind kind);  // with the lock

  const zo2_device_options options_;
  contract::Shortage shortage_{options_.refuse_allocation};
  const int ordinal_;
  const pid_t process_;
  Traits traits_{};
  uint64_t memory_total_ = 0;  // bytes of the GPU
  std::unique_ptr<Clock> clock_;
  std::shared_ptr<EventPool> events_;
  std::unique_ptr<WordsPool> words_;
  ScratchBook scratch_;
  std::unique_ptr<disk::Engine> files_;

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
};

// How many GPUs there are, and, when there are none, why.
contract::DeviceCount count_devices();

}  // namespace zo2::cuda
