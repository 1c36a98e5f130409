// A program on the CPU, and how it is run.
#pragma once

#include <cstdint>
#include <memory>

#include "contract/commands.h"
#include "contract/program.h"

namespace zo2::cpu {

class Device;

// What a zo2_program is; contract/ sees the base.
class DeviceProgram : public contract::Program {
 public:
  // Throws Failure, of contract::Program.
  DeviceProgram(std::shared_ptr<Device> device, const double* words, uint64_t count,
                const uint64_t space_bytes[ZO2_SPACES])
      : contract::Program(device.get(), words, count, space_bytes), device_(std::move(device)) {}

  Device& device() const { return *device_; }

  // Runs the ops in order, over the device's pool; returns when the last one has ended. Throws Failure when a table of
  // the inputs names a row that does not exist; the message names op and row. What the ops before wrote stays. Several
  // runs at a time are fine where their spaces allow it.
  void run(const contract::RunCommand& command) const;

 private:
  const std::shared_ptr<Device> device_;
};

}  // namespace zo2::cpu
