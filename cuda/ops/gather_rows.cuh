// gatherRows: out[r, :] = x[index[r], :].
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out: [M, N], x: [R, N], F32, F16 or BF16 each; index: int32 [M, 1], every entry in [0, R) (check.cuh:
// launch_check_index). out overlaps neither x nor index.
struct GatherRowsArgs {
  Matrix out, x, index;
};

// The result is that of the launch. Nothing is launched for an empty out.
cudaError_t launch_gather_rows(const Launch& launch, const GatherRowsArgs& args);

}  // namespace zo2::cuda
