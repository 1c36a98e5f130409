// Carries failures from stream to stream, and failures and cancellations from the host to the device, between kernels:
// the word that kernels look at (Launch::poison) must not change while one of them runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/launch.h"

namespace zo2::cuda {

constexpr uint32_t kCheckpointSources = 8;

struct Checkpoint {
  const uint32_t* stopped;  // in pinned memory; not 0 once the stream is being destroyed, or failed on the host
  uint32_t count;           // of sources, at most kCheckpointSources
  // Streams that this one has waited for, and the last of their commands that it waited for.
  struct {
    FaultSlot* slot;
    uint64_t command;
  } sources[kCheckpointSources];
};

// Raises the stream's slot when the stream was stopped, or when one of the sources was raised by a command that this
// stream waited for. The mirror stays as it is: the host works out itself whose fault it was. One kernel of one thread.
// The result is that of the launch.
cudaError_t launch_checkpoint(const Launch& launch, const Checkpoint& checkpoint);

}  // namespace zo2::cuda
