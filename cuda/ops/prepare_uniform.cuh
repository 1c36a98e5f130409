// The prepare pass over a uniform layout, where nearly all of it is spent: dense segments of one wire dtype and one
// scratch dtype whose groups of eight elements lie at multiples of 16 bytes, drawn noise of one kind, and no update or
// one of one direction. A kernel for each combination of them, but for two dtypes of 16 bits that differ; everything
// else is the general kernel's (prepare.cu).
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

bool is_uniform_prepare(const contract::PrepareCommand& command);

// `segments`: the layout's, where the device can address them; `blocks`: of all of them, at least 1.
cudaError_t launch_uniform_prepare(const Launch& launch, const contract::PrepareCommand& command,
                                   const zo2_segment* segments, unsigned blocks);

}  // namespace zo2::cuda
