// LINEAR on Hopper's own instructions: tiles by the bulk tensor copy engine (TMA), products by wgmma. linear_mma.cuh is
// its twin for every other device and every operand that the copy engine cannot address.
#pragma once

#include "cuda/ops/linear.cuh"

namespace zo2::cuda {

// Whether launch_linear_sm90 can do this product: a device of capability 9.0 and an image built for sm_90a; x and
// weight of one 16-bit dtype, with bases and row strides that are multiples of 16 bytes; M, N and K of at least 1 and
// below 2^31. Bias, residual and out are free.
bool linear_sm90_accepts(const Launch& launch, const LinearArgs& args);

// Enqueues out[M, N] = activation(x[M, K] weight[N, K]^T + bias[N]) + residual[M, N] for arguments that
// linear_sm90_accepts. Sums are fp32, in the order of K whatever the tile. cudaErrorInvalidValue: the driver made no
// tensor map.
cudaError_t launch_linear_sm90(const Launch& launch, const LinearArgs& args);

}  // namespace zo2::cuda
