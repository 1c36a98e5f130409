// cast: the same matrix in another dtype, rounded to nearest even.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, x: [M, N], F32, F16 or BF16 each, any strides. They may be one matrix of one dtype, but not overlap otherwise.
// Overflow gives infinity.
struct CastArgs {
  Matrix out, x;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_cast(const Launch& launch, const CastArgs& args);

}  // namespace zo2::cuda
