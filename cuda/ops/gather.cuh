// Gathering rows of a table, in pinned host or device memory, into pinned host or device memory.
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// Row i of command.to becomes row (rows[i] - row_base) of command.from. Enqueues the check of the row list (faults
// kGatherRow and kGatherOverlap, that with the smallest place in the list), then the copy. All pointers are ones that
// the device can address. Nothing is launched for an empty list. The result is that of the launches.
cudaError_t launch_gather(const Launch& launch, const contract::GatherCommand& command);

}  // namespace zo2::cuda
