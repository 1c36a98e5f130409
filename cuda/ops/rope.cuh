// rope: rotary position embedding (Su et al. 2021, "RoFormer"), with the two halves of a head's rotated columns as the
// pairs.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, x: [M, N], F32, F16 or BF16 each, N a multiple of head_size; out may be x's own matrix. positions: int32 [M, 1].
// rotary: even, at most head_size. frequencies: rotary / 2 floats in device memory. In every head and for j < rotary /
// 2, with angle = fp32(position) * f_j:
//   (x_j, x_{j + rotary/2}) becomes (x_j c - x_{j + rotary/2} s, x_{j + rotary/2} c + x_j s), c = cos(angle) * scaling,
//   s = sin(angle) * scaling;
// columns from `rotary` on are copied.
struct RopeArgs {
  Matrix out, x, positions;
  int64_t head_size, rotary;
  float scaling;
  const float* frequencies;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_rope(const Launch& launch, const RopeArgs& args);

}  // namespace zo2::cuda
