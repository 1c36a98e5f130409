// Memory that commands work on.
#pragma once

#include <cstdint>
#include <memory>

#include "contract/memory.h"
#include "contract/zo2.h"
#include "disk/file.h"

namespace zo2::cpu {

class Device;

// A zo2_buffer points at its base.
class Buffer : public contract::Memory {
 public:
  // HOST memory is zeroed (page by page, when first touched); DEVICE memory is not, and under random delays holds NaN,
  // so that what reads it too early shows. Aligned as zo2.h says. Throws Failure(OUT_OF_MEMORY).
  Buffer(std::shared_ptr<Device> device, zo2_buffer_kind kind, uint64_t bytes);
  // FILE memory. Throws Failure, of disk::File.
  Buffer(std::shared_ptr<Device> device, const zo2_file_options& options);
  Buffer(std::shared_ptr<Device> device, const char* path);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Device& device() const { return *device_; }
  const disk::File& file() const { return *file_; }  // of FILE memory

 private:
  // A file that was opened takes no room.
  uint64_t booked() const { return read_only ? 0 : bytes; }

  const std::shared_ptr<Device> device_;
  uint64_t mapped_ = 0;  // bytes of the mapping; 0: from the heap
  std::unique_ptr<const disk::File> file_;
};

}  // namespace zo2::cpu
