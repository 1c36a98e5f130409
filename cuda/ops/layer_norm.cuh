// layerNorm: (x - mean) / sqrt(variance + epsilon) * gain + bias along the columns (Ba et al. 2016, "Layer
// Normalization").
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, x: [M, N]; gain, bias: [1, N]; F32, F16 or BF16 each. bias may be absent (data null). out may be x's own matrix.
// The variance is the biased one, taken in a second pass over fp32 registers; the same shape gives the same bits.
struct LayerNormArgs {
  Matrix out, x, gain, bias;
  float epsilon;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_layer_norm(const Launch& launch, const LayerNormArgs& args);

}  // namespace zo2::cuda
