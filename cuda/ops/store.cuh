// A small piece of host memory into device memory, in the order of the stream: it travels as arguments of kernels, so
// that neither the host waits for the stream nor a staging buffer has to outlive the call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/launch.h"

namespace zo2::cuda {

// One kernel for each 3968 bytes. `to` is aligned to 16 bytes. The result is that of the launches.
cudaError_t launch_store(const Launch& launch, void* to, const void* from, uint64_t bytes);

}  // namespace zo2::cuda
