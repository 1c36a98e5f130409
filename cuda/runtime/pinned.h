// Host memory that the device reaches by itself.
#pragma once

#include <cstdint>
#include <utility>

namespace zo2::cuda {

// Page-locked host memory, zeroed, aligned as zo2.h says of HOST buffers, at one address for the host and for every
// device of the process.
//
// Small arenas are one cudaHostAlloc. Large ones are mapped, in huge pages where the kernel grants them, touched by
// several threads, and then registered: cudaHostAlloc alone touches page by page. Where registering is refused (by
// WSL, by some drivers) it is cudaHostAlloc after all. There is no third way: copies from memory that is not locked
// would not be asynchronous, which the contract promises.
class PinnedArena {
 public:
  PinnedArena() = default;
  // At least one byte is allocated. Throws Failure(OUT_OF_MEMORY) that names the calls that refused and why.
  explicit PinnedArena(uint64_t bytes);
  PinnedArena(PinnedArena&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        mapped_(std::exchange(other.mapped_, 0)),
        data_(std::exchange(other.data_, nullptr)) {}
  PinnedArena& operator=(PinnedArena&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedArena();

  uint8_t* data() const { return data_; }

 private:
  // Null where it was refused.
  void* base_ = nullptr;
  uint64_t mapped_ = 0;  // bytes of the mapping; 0: from cudaHostAlloc
  uint8_t* data_ = nullptr;
};

// Bytes of memory that the host has, and a bound for what may be locked.
uint64_t host_memory_total();

}  // namespace zo2::cuda
