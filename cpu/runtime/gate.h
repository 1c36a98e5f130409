// Test mode: where a stream stops until it is let through.
#pragma once

#include <memory>

#include "cpu/runtime/latch.h"

namespace zo2::cpu {

class Device;

// The latch is shared with the commands that hold streams at the gate, so that a gate may be destroyed (which opens it)
// before they run.
struct Gate {
  explicit Gate(std::shared_ptr<Device> device) : device(std::move(device)), latch(std::make_shared<Latch>()) {}
  ~Gate() { latch->open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  const std::shared_ptr<Device> device;
  const std::shared_ptr<Latch> latch;
};

}  // namespace zo2::cpu
