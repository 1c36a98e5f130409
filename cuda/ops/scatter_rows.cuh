// scatterRows: out[index[r], :] = x[r, :].
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out: [R, N], x: [M, N], F32, F16 or BF16 each; index: int32 [M, 1], every entry in [0, R) (check.cuh:
// launch_check_index) and at most once: what a row holds that is named twice is undefined. Other rows of out are left
// as they are. out overlaps neither x nor index.
struct ScatterRowsArgs {
  Matrix out, x, index;
};

// The result is that of the launch. Nothing is launched for an empty x.
cudaError_t launch_scatter_rows(const Launch& launch, const ScatterRowsArgs& args);

}  // namespace zo2::cuda
