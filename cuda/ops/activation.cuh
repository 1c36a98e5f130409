// The activations of linear and gatedActivation, on one fp32 value. NaN gives NaN.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"

namespace zo2::cuda {

__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }

// x Phi(x). By erfc, because 1 + erf would cancel for negative x.
__device__ inline float gelu(float x) { return 0.5f * x * erfcf(x * -0.70710678118654752f); }

// x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x / (1 + exp(-2 u)), which does not cancel.
__device__ inline float gelu_tanh(float x) {
  const float twice = 1.5957691216057308f * x * fmaf(0.044715f * x, x, 1.0f);
  return x / (1.0f + expf(-twice));
}

// x sigmoid(x)
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

// `activation` is one of ZO2_ACTIVATION_*, the same for all threads of a launch.
__device__ inline float activate(int activation, float x) {
  switch (activation) {
    case ZO2_ACTIVATION_RELU:
      return relu(x);
    case ZO2_ACTIVATION_GELU:
      return gelu(x);
    case ZO2_ACTIVATION_GELU_TANH:
      return gelu_tanh(x);
    case ZO2_ACTIVATION_SILU:
      return silu(x);
    default:
      return x;
  }
}

}  // namespace zo2::cuda
