// rmsNorm: x / sqrt(mean(x^2) + epsilon) * gain (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"),
// along whole rows or along each head of a row (query and key norms).
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, x: [M, N]; gain: [1, G] with N a multiple of G: each G columns of a row are normalised by themselves. F32, F16
// or BF16 each; out may be x's own matrix. Arithmetic in fp32; the same shape gives the same bits.
struct RmsNormArgs {
  Matrix out, x, gain;
  float epsilon;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_rms_norm(const Launch& launch, const RmsNormArgs& args);

}  // namespace zo2::cuda
