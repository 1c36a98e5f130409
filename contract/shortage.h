// The test mode in which one allocation of a device is refused (`refuse_allocation` of zo2.h), and the count of them.
#pragma once

#include <atomic>
#include <cinttypes>
#include <cstdint>

#include "contract/status.h"

namespace zo2::contract {

class Shortage {
 public:
  // The number of the allocation that is refused, from 1; 0: none.
  explicit Shortage(uint64_t refused) : refused_(refused) {}

  uint64_t allocations() const { return count_; }

  // Counts one. Throws Failure(OUT_OF_MEMORY) where it is the one to be refused: `what` was made, with all that it
  // holds, and has to be let go of. `bytes`: 0 where they are not the caller's to choose.
  void count(const char* what, uint64_t bytes = 0) {
    if (count_.fetch_add(1, std::memory_order_relaxed) + 1 != refused_) return;
    if (bytes == 0) fail(ZO2_STATUS_OUT_OF_MEMORY, "memory for a %s was asked for, and the test mode refuses it", what);
    fail(ZO2_STATUS_OUT_OF_MEMORY, "%" PRIu64 " bytes of %s memory were asked for, and the test mode refuses them",
         bytes, what);
  }

 private:
  const uint64_t refused_;
  std::atomic<uint64_t> count_{0};
};

}  // namespace zo2::contract
