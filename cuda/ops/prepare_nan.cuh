// A NaN passes through prepare as it does on the CPU: made quiet, with its sign and payload. Operations of the device
// give one NaN for all.
#pragma once

#include "cuda/kernel.h"
#include "numerics/update.h"

namespace zo2::cuda {

// NaN if some number of a group is not finite, otherwise `sum`.
template <int kCount>
__device__ inline float add_zeros(const float (&x)[kCount], float sum) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum = numerics::f32_fma(x[i], 0.0f, sum);
  return sum;
}

template <int kCount>
__device__ inline bool all_finite(const float (&x)[kCount]) {
  return add_zeros(x, 0.0f) == 0.0f;
}

// numerics::perturb for any weight.
__device__ inline float perturb_any(float eps, float z, float w) {
  return w != w ? numerics::bits_float(numerics::float_bits(w) | 0x400000u) : numerics::perturb(eps, z, w);
}

}  // namespace zo2::cuda
