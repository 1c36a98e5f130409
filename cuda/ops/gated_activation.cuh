// gatedActivation: out = activation(gate) * up, element by element (Shazeer 2020, "GLU Variants Improve Transformer").
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out, gate, up: [M, N], F32, F16 or BF16 each; out may be gate's own matrix. activation: one of ZO2_ACTIVATION_*;
// arithmetic in fp32.
struct GatedActivationArgs {
  Matrix out, gate, up;
  int activation;
};

// The result is that of the launch. Nothing is launched for an empty matrix.
cudaError_t launch_gated_activation(const Launch& launch, const GatedActivationArgs& args);

}  // namespace zo2::cuda
