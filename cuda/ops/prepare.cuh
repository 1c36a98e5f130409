// The prepare pass on the GPU (contract/zo2.h, zo2_prepare_args): pending updates in, updated wire bytes out, W+ and W-
// out, one read of the wire. The bytes are those of the CPU backend: all arithmetic is that of numerics/. The update
// and the perturbation are MeZO's (Malladi et al., NeurIPS 2023).
//
// Bytes moved for one element: wire read, wire written if stored, W+ and W- written.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// One pending update as the kernels read it: a zo2_update with its places resolved. The projected gradients behind
// `states` are read on the device only.
struct PrepareUpdate {
  uint64_t seed;
  double learning_rate;
  double weight_decay;
  const zo2_step_state* states;  // `directions` of them
  const float* z;                // BUFFER noise: table of direction 0
  uint64_t z_stride;             // bytes between the tables of two directions
  uint32_t noise;
  uint32_t step;
  uint32_t directions;  // 1..64
  uint32_t reserved;
};

PrepareUpdate prepare_update(const contract::PendingUpdate& pending);

// Up to so many updates travel as kernel arguments; more need a table that the device can address.
constexpr uint32_t kInlineUpdates = 4;

// What the blocks of one prepare tell the kernel that folds it into the sticky flags. Zero before the first launch on
// the stream, and left zero by every launch.
struct PrepareTally {
  uint32_t flags;    // ZO2_STICKY_*
  uint32_t urgency;  // 2^32 - 1 - place of the first update that raised one
};

// What a prepare needs besides its command. All of it in memory that the device can address, alive until the stream has
// passed.
struct PrepareResources {
  const zo2_segment* segments;  // copy of command.layout->segments()
  // prepare_update of each of command.updates; may be null for at most kInlineUpdates of them
  const PrepareUpdate* updates;
  PrepareTally* tally;  // one per stream
};

// Enqueues the whole command: for gathered segments the check of the row list (fault kPrepareRow), the pass itself,
// and, when there are updates, the kernel that raises command.sticky. The result is that of the launches.
cudaError_t launch_prepare(const Launch& launch, const contract::PrepareCommand& command,
                           const PrepareResources& resources);

}  // namespace zo2::cuda
