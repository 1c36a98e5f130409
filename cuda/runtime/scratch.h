// Device memory that commands of a stream need while they run: made when a stream or a program is made, so that no
// command allocates. A GPU may wait for all of its streams before it gives memory, which a command must never do.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/runtime/owners.h"

namespace zo2::cuda {

// Device memory that grows. What it outgrew is kept, because queued kernels may use it: in all not more than the last
// piece again. Any thread.
class Growing {
 public:
  // Throws Failure(OUT_OF_MEMORY). The device must be current.
  uint8_t* at_least(uint64_t bytes);

 private:
  std::mutex mutex_;
  std::vector<DeviceArena> pieces_;
};

// What programs of one device need, and the memory of each of its streams that holds it.
class ScratchBook {
 public:
  // For a new stream: holds what any program made so far needs.
  std::shared_ptr<Growing> open();
  // For a new program: from now on every stream, also one that is made later, holds `bytes`. Both throw
  // Failure(OUT_OF_MEMORY); the device must be current.
  void reserve(uint64_t bytes);

 private:
  std::mutex mutex_;
  uint64_t bytes_ = 0;
  std::vector<std::weak_ptr<Growing>> streams_;
};

}  // namespace zo2::cuda
