// What the fuzzing programs share: devices of the CPU backend that live as long as the program, and what one input
// makes on one of them.
//
// The memory of a device buffer is host memory here, so it is filled and read in place, and the bytes behind it, which
// the backend's allocation has and the contract does not, are poisoned: AddressSanitizer sees the first byte past the
// end.
#pragma once

#include <malloc.h>
#include <sanitizer/asan_interface.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "contract/memory.h"
#include "contract/zo2.h"

namespace zo2::fuzz {

// Ends the program: libFuzzer keeps the input as a finding.
[[noreturn]] inline void violation(const char* what, const char* message = "") {
  std::fprintf(stderr, "fuzz: %s %s\n", what, message);
  std::abort();
}

inline const zo2_backend& table() {
  static const zo2_backend* const backend = zo2_cpu_backend();
  return *backend;
}

// A refusal has a status, and a message that ends within its place.
inline bool accepted(zo2_status status, const zo2_error& error) {
  if (status != error.status) violation("the status that was returned is not that of the error:", error.message);
  if (std::memchr(error.message, 0, sizeof error.message) == nullptr) violation("a message without an end");
  if (status == ZO2_OK) return true;
  if (error.message[0] == '\0') violation("a refusal without a message");
  if (status < ZO2_OK || status > ZO2_STATUS_CANCELLED) violation("no such status:", error.message);
  return false;
}

inline zo2_device* open_device(uint32_t threads, bool generic) {
  zo2_device_options options = {};
  options.threads = threads;
  options.generic_kernels = generic ? 1 : 0;
  zo2_device* device = nullptr;
  zo2_error error = {};
  if (!accepted(table().device_open(&options, &device, &error), error)) violation("no device:", error.message);
  return device;
}

// The bytes of noise with which memory is filled: the same for the same seed (SplitMix64, Steele et al. 2014).
class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

class World {
 public:
  explicit World(zo2_device* device) : device_(device) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  ~World() {
    table().stream_destroy(stream_);
    table().event_destroy(event_);
    for (zo2_buffer* buffer : buffers_) {
      const contract::Memory& memory = memory_of(buffer);
      __asan_unpoison_memory_region(memory.data, malloc_usable_size(memory.data));
      table().buffer_destroy(buffer);
    }
  }

  zo2_device* device() const { return device_; }

  zo2_stream* stream() {
    if (stream_ == nullptr && !accepted(table().stream_create(device_, "fuzz", &stream_, &error), error))
      violation("no stream:", error.message);
    return stream_;
  }

  // A buffer of exactly `bytes`, zeroed; at most a megabyte, so that it is no mapping of pages.
  zo2_buffer* buffer(zo2_buffer_kind kind, uint64_t bytes) {
    zo2_buffer* made = nullptr;
    if (!accepted(table().buffer_create(device_, kind, bytes, &made, &error), error))
      violation("no buffer:", error.message);
    const contract::Memory& memory = memory_of(made);
    std::memset(memory.data, 0, bytes);
    __asan_poison_memory_region(memory.data + bytes, malloc_usable_size(memory.data) - bytes);
    buffers_.push_back(made);
    return made;
  }

  static const contract::Memory& memory_of(const zo2_buffer* buffer) {
    return *reinterpret_cast<const contract::Memory*>(buffer);
  }

  // Waits until the stream has done what was enqueued; the status with which it ended.
  zo2_status finish() {
    if (event_ == nullptr && !accepted(table().event_create(device_, &event_, &error), error))
      violation("no event:", error.message);
    if (!accepted(table().stream_record(stream(), event_, &error), error)) violation("no record:", error.message);
    Ended ended;
    if (!accepted(table().event_notify(event_, Ended::call, &ended, &error), error))
      violation("no notification:", error.message);
    const zo2_error end = ended.wait();
    accepted(end.status, end);
    return end.status;
  }

  std::vector<uint8_t> contents() const {
    std::vector<uint8_t> all;
    for (const zo2_buffer* buffer : buffers_)
      all.insert(all.end(), memory_of(buffer).data, memory_of(buffer).data + memory_of(buffer).bytes);
    return all;
  }

  zo2_error error = {};

 private:
  class Ended {
   public:
    static void call(void* user, const zo2_error* error) {
      auto* const self = static_cast<Ended*>(user);
      std::lock_guard<std::mutex> lock(self->mutex_);
      self->error_ = *error;
      self->called_ = true;
      self->changed_.notify_all();
    }
    zo2_error wait() {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return called_; });
      return error_;
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool called_ = false;
    zo2_error error_ = {};
  };

  zo2_device* const device_;
  zo2_stream* stream_ = nullptr;
  zo2_event* event_ = nullptr;
  std::vector<zo2_buffer*> buffers_;
};

// The devices on which an input is run: results must not depend on the number of threads.
struct Devices {
  zo2_device* one;
  zo2_device* three;
};

inline const Devices& devices(bool generic) {
  static const Devices vectorised = {open_device(1, false), open_device(3, false)};
  static const Devices portable = {open_device(1, true), open_device(3, true)};
  return generic ? portable : vectorised;
}

}  // namespace zo2::fuzz
