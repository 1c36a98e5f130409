// The matrix product with its fused epilogue: out[M, N] = activation(scale (x[M, K] weight[N, K]^T) + bias[N]) +
// residual[M, N], or with the residual inside of the activation.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, residual: [M, N]; x: [M, K]; weight: [N, K]; bias: [1, N]. Any of F32, F16, BF16 each. bias and residual may be
// absent; residual may be out's own matrix (same memory, stride and dtype), nothing else may overlap out. activation:
// ZO2_ACTIVATION_*. inner: the residual is added before the activation.
struct LinearArgs {
  Matrix out, x, weight, bias, residual;
  int activation;
  float scale = 1.0f;
  bool inner = false;
};

// Arithmetic goes by the weight's dtype: with a 16-bit weight, x is rounded to that dtype and the products are summed
// in fp32 on tensor cores; with an F32 weight both are F32, multiplied exactly, or rounded to tf32 when the device's
// traits say so. The order of the sums depends on the shape and the device alone. M or N of 0 launches nothing; K of 0
// gives activation(bias) + residual, or activation(bias + residual). Returns what the launch returned;
// cudaErrorInvalidConfiguration when a dimension needs more blocks than a grid has.
cudaError_t launch_linear(const Launch& launch, const LinearArgs& args);

}  // namespace zo2::cuda
