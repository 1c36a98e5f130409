// The prepare pass on the GPU (contract/zo2.h, zo2_prepare_args): pending updates in, updated wire bytes out, perturbed
// weights out, one read of the wire. The bytes are those of the CPU backend: all arithmetic is that of numerics/. The
// update and the perturbation are MeZO's (Malladi et al., NeurIPS 2023).
//
// Bytes moved for one element: wire read, wire written if stored, every side written.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// Up to so many updates travel as kernel arguments; more need a table that the device can address.
constexpr uint32_t kInlineUpdates = 4;

// What the blocks of one prepare tell the last of them, which raises the sticky flags. Zero before the first launch on
// the stream, and left zero by every launch.
struct PrepareTally {
  uint32_t flags;    // ZO2_STICKY_*
  uint32_t urgency;  // 2^32 - 1 - place of the first update that raised one
  uint32_t blocks;   // that are through
};

// What a prepare needs besides its command. All of it in memory that the device can address, alive until the stream has
// passed.
struct PrepareResources {
  const zo2_segment* segments;  // copy of command.layout->segments()
  // copy of command.updates; may be null for at most kInlineUpdates of them
  const contract::PendingUpdate* updates;
  PrepareTally* tally;  // one per stream
};

// Enqueues the whole command: for gathered segments the check of the row list (fault kPrepareRow), which has to be
// through before anything is written, and one kernel. The result is that of the launches.
cudaError_t launch_prepare(const Launch& launch, const contract::PrepareCommand& command,
                           const PrepareResources& resources);

}  // namespace zo2::cuda
