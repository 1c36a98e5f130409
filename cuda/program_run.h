// A program on the device: what its ops need there besides their operands, and how it is run.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "contract/commands.h"
#include "contract/program.h"
#include "contract/zo2.h"
#include "cuda/launch.h"
#include "cuda/runtime/owners.h"

namespace zo2::cuda {

class Device;

// What a zo2_program is; contract/ sees the base.
class DeviceProgram : public contract::Program {
 public:
  // Throws Failure: of contract::Program, UNSUPPORTED for an op that no kernel of this backend does, or OUT_OF_MEMORY.
  DeviceProgram(std::shared_ptr<Device> device, const double* words, uint64_t count,
                const uint64_t space_bytes[ZO2_SPACES]);
  ~DeviceProgram();

  Device& device() const { return *device_; }
  // Bytes of device memory that a run needs for itself.
  uint64_t scratch_bytes() const { return scratch_bytes_; }

  // Enqueues the ops in order; before the first that reads a table, the check of that table. Throws Failure(DEVICE)
  // that names the op when a launch fails.
  void run(const Launch& launch, const contract::RunCommand& command, void* scratch) const;

 private:
  const std::shared_ptr<Device> device_;
  DeviceArena frequencies_;                // of all ropes, fp32, one after another
  std::vector<uint64_t> first_frequency_;  // by op
  uint64_t scratch_bytes_ = 0;
};

}  // namespace zo2::cuda
