// What of a stream others keep hold of: those that waited for it, and the records it made. It outlives the stream.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "contract/zo2.h"
#include "cuda/launch.h"
#include "cuda/ops/prepare.cuh"
#include "cuda/runtime/owners.h"
#include "cuda/runtime/pinned.h"

namespace zo2::cuda {

// A stream's words in device memory; zero when the stream is made.
struct DeviceWords {
  FaultSlot slot;
  PrepareTally tally;
};

// A stream's words in pinned memory, which the device reads and writes too.
struct HostWords {
  FaultSlot mirror;
  uint32_t stopped;      // 1: checkpoints raise the slot
  uint32_t passed;       // how many of the stream's holds are open, see HoldLine
  uint32_t transferred;  // how many of the stream's file commands are done, see FileLine
};

// Gives every stream of a device its words. They are not used again before the device goes: kernels of other streams
// may still look at those of a stream that was destroyed. A stream costs half a kilobyte.
class WordsPool {
 public:
  struct Words {
    DeviceWords* device;
    HostWords* host;
  };
  // Zeroed. Throws Failure.
  Words take();

 private:
  struct Chunk {
    DeviceArena device;
    PinnedArena host;
  };
  std::mutex mutex_;
  std::vector<Chunk> chunks_;
  uint32_t left_ = 0;  // in the last chunk
};

// Commands of a stream have ordinals 1, 2, ...; a failure has the ordinal of the command that failed, and concerns
// records behind it.
class Lane {
 public:
  Lane(std::string name, WordsPool::Words words) : name_(std::move(name)), words_(words) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  const std::string& name() const { return name_; }
  DeviceWords& device_words() const { return *words_.device; }
  HostWords& host_words() const { return *words_.host; }

  // The fault that a check kernel raised in a command up to `ordinal`, or the failure of one on the host, as far as it
  // is known: certain once the device has passed that one.
  std::optional<zo2_error> fault(uint64_t ordinal) const;

  // A command that the host does for the stream failed, the only one: the stream is at it. Its checkpoints raise the
  // slot from here on. Any thread.
  void fail(uint64_t ordinal, const zo2_error& error);
  // Makes the stream's checkpoints raise the slot. Any thread.
  void stop() { __atomic_store_n(&host_words().stopped, 1u, __ATOMIC_RELEASE); }
  bool stopped() const { return __atomic_load_n(&host_words().stopped, __ATOMIC_ACQUIRE) != 0; }

  // The stream is being destroyed: commands from `first` on count as not run, whether they were or not.
  void cancel(uint64_t first) { cancelled_from_.store(first); }
  std::optional<zo2_error> cancellation(uint64_t ordinal) const;

  // The first command with kernels: before it nothing can have raised the slot.
  void note_kernels(uint64_t ordinal) {
    if (first_kernels_.load() > ordinal) first_kernels_.store(ordinal);
  }
  bool may_be_raised(uint64_t ordinal) const { return first_kernels_.load() <= ordinal; }

  // The stream has gone, and everything of it has run.
  void retire() { retired_.store(true); }
  // Whether nothing can come from it any more that concerns commands up to `ordinal`.
  bool spent(uint64_t ordinal) const { return retired_.load() && !fault(ordinal) && !cancellation(ordinal); }

 private:
  const std::string name_;
  const WordsPool::Words words_;
  std::atomic<uint64_t> cancelled_from_{UINT64_MAX};
  std::atomic<uint64_t> first_kernels_{UINT64_MAX};
  std::atomic<bool> retired_{false};
  std::atomic<uint64_t> failed_{UINT64_MAX};  // ordinal of the command that failed on the host
  zo2_error failure_{};                       // of that one; written before `failed_`
};

// How far one stream had come when another waited for it, directly or through a third.
struct Seen {
  std::shared_ptr<Lane> lane;
  uint64_t ordinal;
};
using Past = std::vector<Seen>;

// "stream \"name\": message" with the status of `cause`.
zo2_error named(const std::string& stream, zo2_status status, const std::string& message);

}  // namespace zo2::cuda
