// Filling memory that the device can address with one byte. A kernel and not cudaMemset, so that a stream that failed
// fills nothing.
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// Every byte of command.to, in device or pinned memory, becomes command.byte. Nothing is launched for 0 bytes. The
// result is that of the launch.
cudaError_t launch_fill(const Launch& launch, const contract::FillCommand& command);

}  // namespace zo2::cuda
