// 1 / sqrt(x) for positive normal x by the special function unit: the relative error is at most 2^-22.9, as the PTX
// manual states. The emulator answers as badly as that allows, differently from x to x, so that what needs a better one
// shows.
#pragma once

#include "cuda/kernel.h"

namespace zo2::cuda {

constexpr double kRsqrtError = 1.2777e-7;  // 2^-22.9, rounded up

#if ZO2_EMULATED

inline float rsqrt_fast(float x) {
  const double exact = 1.0 / ::sqrt(static_cast<double>(x));
  const uint32_t bits = __float_as_uint(x);
  const float wrong = static_cast<float>(exact * (1.0 + ((bits * 0x9e3779b1u >> 31) != 0 ? 1.2e-7 : -1.2e-7)));
  return ::fabs(static_cast<double>(wrong) / exact - 1.0) < kRsqrtError ? wrong : static_cast<float>(exact);
}

#else

__device__ __forceinline__ float rsqrt_fast(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

}  // namespace zo2::cuda
