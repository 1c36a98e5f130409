// transpose: rows become columns.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out[c, r] = x[r, c]; x: [M, N], out: [N, M], F32, F16 or BF16 each, rounded to nearest even; overflow gives infinity.
// They do not overlap.
struct TransposeArgs {
  Matrix out, x;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_transpose(const Launch& launch, const TransposeArgs& args);

}  // namespace zo2::cuda
