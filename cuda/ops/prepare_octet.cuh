// Eight consecutive elements as they lie in memory, in words, and as fp32: whole groups at multiples of 16 bytes, by
// the packed conversions of the hardware. Those give the bits of numerics/rounding.h but for a NaN, of which they drop
// sign and payload: who calls them looks for one.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"
#include "cuda/ops/prepare_place.cuh"
#include "numerics/ops.h"
#include "numerics/philox.h"
#include "numerics/rounding.h"

namespace zo2::cuda {

template <uint32_t kDtype>
constexpr uint32_t kElementBytes = kDtype == ZO2_F32 ? 4 : 2;

template <uint32_t kDtype>
struct Octet {
  static constexpr int kWords = kGroup * kElementBytes<kDtype> / 4;
  uint32_t words[kWords];

  __device__ void load(const unsigned char* from) {
#pragma unroll
    for (int i = 0; i < kWords; i += 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(from + 4 * i);
      words[i] = four.x, words[i + 1] = four.y, words[i + 2] = four.z, words[i + 3] = four.w;
    }
  }
  __device__ void store(unsigned char* to) const {
#pragma unroll
    for (int i = 0; i < kWords; i += 4)
      *reinterpret_cast<uint4*>(to + 4 * i) = make_uint4(words[i], words[i + 1], words[i + 2], words[i + 3]);
  }
  __device__ void widen(float (&x)[kGroup]) const {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if constexpr (kDtype == ZO2_F32) {
        x[i] = __uint_as_float(words[i]);
      } else if constexpr (kDtype == ZO2_BF16) {
        x[i] = __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
      } else {
        x[i] = __half2float(__ushort_as_half(static_cast<uint16_t>(words[i / 2] >> (i % 2 * 16))));
      }
    }
  }
  // To nearest even.
  __device__ void narrow(const float (&x)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (kDtype == ZO2_F32) {
        words[i] = __float_as_uint(x[i]);
      } else if constexpr (kDtype == ZO2_BF16) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
        memcpy(&words[i], static_cast<const void*>(&pair), sizeof pair);
      } else {
        const __half2 pair = __floats2half2_rn(x[2 * i], x[2 * i + 1]);
        memcpy(&words[i], static_cast<const void*>(&pair), sizeof pair);
      }
    }
  }
  // As numerics/rounding.h rounds finite numbers; what becomes of others is unspecified. `random`: of element i, word
  // i & 3 of random[i / 4].
  __device__ void narrow_stochastic(const float (&x)[kGroup], const numerics::PhiloxWords (&random)[2]) {
    static_assert(kDtype != ZO2_F32, "fp32 is not rounded");
    uint32_t raised[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const uint32_t bits = __float_as_uint(x[i]), word = random[i / 4].x[i % 4];
      if constexpr (kDtype == ZO2_BF16) {
        raised[i] = bits + (word & 0xffffu);
      } else {
        // fp16 holds what is left after this exactly, or it is too large for it.
        raised[i] = fabsf(x[i]) < 0x1p-14f ? bits : (bits + (word & 0x1fffu)) & ~0x1fffu;
      }
    }
    if constexpr (kDtype == ZO2_BF16) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = raised[2 * i] >> 16 | (raised[2 * i + 1] & 0xffff0000u);
    } else {
      float y[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) y[i] = __uint_as_float(raised[i]);
      narrow(y);
    }
  }
};

}  // namespace zo2::cuda
