// Copies between two places in pinned memory. A kernel and not cudaMemcpyAsync, which copies from host memory to host
// memory before it returns, and so waits for all that the stream was given before.
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// The bytes at command.from, which do not overlap those at command.to. Nothing is launched for 0 bytes. The result is
// that of the launch.
cudaError_t launch_copy(const Launch& launch, const contract::CopyCommand& command);

}  // namespace zo2::cuda
