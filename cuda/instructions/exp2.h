// 2^x by the special function unit: within 2 units in the last place, results below 2^-126 are 0. exp2f of CUDA spends
// three more instructions on those.
#pragma once

#include "cuda/kernel.h"

namespace zo2::cuda {

#if ZO2_EMULATED

inline float exp2_fast(float x) { return x < -126.0f ? 0.0f : ::exp2f(x); }

#else

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

}  // namespace zo2::cuda
