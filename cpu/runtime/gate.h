// Where a stream stops until it is let through.
#pragma once

#include <memory>

#include "cpu/runtime/latch.h"

namespace zo2::cpu {

class Device;

// What a zo2_gate is. The latch is shared with the commands that hold streams at the gate, so that a gate may be
// destroyed (which opens it) before they run.
class Gate {
 public:
  explicit Gate(std::shared_ptr<Device> device) : device_(std::move(device)), latch_(std::make_shared<Latch>()) {}
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  Device& device() const { return *device_; }
  void open() { latch_->open(); }
  const std::shared_ptr<Latch>& latch() const { return latch_; }

 private:
  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Latch> latch_;
};

}  // namespace zo2::cpu
