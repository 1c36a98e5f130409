// Eight elements with consecutive canonical indices, in the registers of one thread, with their dtypes known when the
// kernel runs: read, noise, update, write. Groups begin at multiples of eight, so that a group needs two counters of
// Gaussian noise, two of rounding, and one of signs. Only elements begin .. end - 1 exist; the others are computed
// along and never read or written.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"
#include "cuda/ops/prepare_nan.cuh"
#include "cuda/ops/prepare_noise.cuh"
#include "cuda/ops/prepare_octet.cuh"
#include "numerics/rounding.h"
#include "numerics/update.h"

namespace zo2::cuda::groups {

struct Group {
  uint64_t canonical;  // of place 0: a multiple of kGroup
  int64_t element;     // of place 0 in its segment; negative when the segment begins inside the group
  int begin;
  int end;

  __device__ bool exists() const { return begin < end; }
  __device__ bool has(int i) const { return i >= begin && i < end; }
  __device__ bool whole() const { return begin == 0 && end == kGroup; }
};

__device__ inline bool is_vector(const Group& group, const void* first) {
  return group.whole() && reinterpret_cast<uintptr_t>(first) % 16 == 0;
}

// As numerics/ widens; one check for all of a group that the hardware would convert otherwise.
template <uint32_t kDtype>
__device__ inline void widen_octet(const Octet<kDtype>& octet, float (&x)[kGroup]) {
  octet.widen(x);
  if constexpr (kDtype != ZO2_F32) {
    if (all_finite(x)) return;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const uint16_t half = static_cast<uint16_t>(octet.words[i / 2] >> (i % 2 * 16));
      x[i] = kDtype == ZO2_F16 ? numerics::f16_to_f32(half) : numerics::bf16_to_f32(half);
    }
  }
}

template <uint32_t kDtype>
__device__ inline void narrow_octet(const float (&x)[kGroup], Octet<kDtype>& octet) {
  octet.narrow(x);
  if constexpr (kDtype != ZO2_F32) {
    if (all_finite(x)) return;
#pragma unroll
    for (int i = 0; i < kGroup; i += 2) {
      const uint32_t low = kDtype == ZO2_F16 ? numerics::f32_to_f16(x[i]) : numerics::f32_to_bf16(x[i]);
      const uint32_t high = kDtype == ZO2_F16 ? numerics::f32_to_f16(x[i + 1]) : numerics::f32_to_bf16(x[i + 1]);
      octet.words[i / 2] = low | high << 16;
    }
  }
}

template <uint32_t kDtype>
__device__ inline void load_octet(const unsigned char* base, const Group& group, float (&w)[kGroup]) {
  const unsigned char* const from = base + group.element * kElementBytes<kDtype>;
  Octet<kDtype> octet{};
  if (is_vector(group, from)) {
    octet.load(from);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (!group.has(i)) continue;
      if constexpr (kDtype == ZO2_F32) {
        octet.words[i] = reinterpret_cast<const uint32_t*>(from)[i];
      } else {
        octet.words[i / 2] |= static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(from)[i]) << (i % 2 * 16);
      }
    }
  }
  widen_octet(octet, w);
}

template <uint32_t kDtype>
__device__ inline void store_octet(unsigned char* base, const Group& group, const float (&w)[kGroup]) {
  unsigned char* const to = base + group.element * kElementBytes<kDtype>;
  Octet<kDtype> octet;
  narrow_octet(w, octet);
  if (is_vector(group, to)) return octet.store(to);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    if (!group.has(i)) continue;
    if constexpr (kDtype == ZO2_F32) {
      reinterpret_cast<uint32_t*>(to)[i] = octet.words[i];
    } else {
      reinterpret_cast<uint16_t*>(to)[i] = static_cast<uint16_t>(octet.words[i / 2] >> (i % 2 * 16));
    }
  }
}

// Elements of a segment that begins at `base`, as fp32; 0 where no element exists.
__device__ inline void load_group(uint32_t dtype, const unsigned char* base, const Group& group, float (&w)[kGroup]) {
  if (dtype == ZO2_F32) return load_octet<ZO2_F32>(base, group, w);
  if (dtype == ZO2_F16) return load_octet<ZO2_F16>(base, group, w);
  load_octet<ZO2_BF16>(base, group, w);
}

// The inverse: each value rounded once, to nearest even.
__device__ inline void store_group(uint32_t dtype, unsigned char* base, const Group& group, const float (&w)[kGroup]) {
  if (dtype == ZO2_F32) return store_octet<ZO2_F32>(base, group, w);
  if (dtype == ZO2_F16) return store_octet<ZO2_F16>(base, group, w);
  store_octet<ZO2_BF16>(base, group, w);
}

// The noise of one direction; `table` is that of BUFFER noise.
__device__ inline void noise_group(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction,
                                   const float* table, const Group& group, float (&z)[kGroup]) {
  if (kind == ZO2_NOISE_GAUSSIAN) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeGaussian, direction);
    noise::gaussian_quad(numerics::philox_at(stream, group.canonical >> 2), z);
    noise::gaussian_quad(numerics::philox_at(stream, (group.canonical >> 2) + 1), z + 4);
  } else if (kind == ZO2_NOISE_RADEMACHER) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeRademacher, direction);
    const uint32_t signs = noise::eight_signs(numerics::philox_at(stream, group.canonical >> 7), group.canonical);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) z[i] = numerics::rademacher_sign(signs, static_cast<uint32_t>(i));
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) z[i] = group.has(i) ? table[group.canonical + static_cast<uint64_t>(i)] : 0.0f;
  }
}

// The random words of stochastic rounding, by the seed and step of the update.
struct RoundingWords {
  numerics::PhiloxWords of[2];

  __device__ RoundingWords(uint64_t seed, uint32_t step, const Group& group) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeRounding, 0);
    of[0] = numerics::philox_at(stream, group.canonical >> 2);
    of[1] = numerics::philox_at(stream, (group.canonical >> 2) + 1);
  }
};

// x = round(w - u) where that is finite, as fp32; elsewhere it need not be.
template <uint32_t kDtype>
__device__ inline void round_octet(bool stochastic, uint64_t seed, uint32_t step, const Group& group,
                                   float (&x)[kGroup]) {
  Octet<kDtype> octet;
  if (stochastic) {
    octet.narrow_stochastic(x, RoundingWords(seed, step, group).of);
  } else {
    octet.narrow(x);
  }
  float rounded[kGroup];
  octet.widen(rounded);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) x[i] = numerics::f32_is_finite(x[i]) ? rounded[i] : x[i];
}

// w = round(w - u) where that is finite; elsewhere w stays. False when an element that exists stayed. `seed` and `step`
// are those of the update.
__device__ inline bool replace_group(uint32_t dtype, bool stochastic, uint64_t seed, uint32_t step, const Group& group,
                                     const float (&u)[kGroup], float (&w)[kGroup]) {
  float next[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; ++i) next[i] = numerics::update_end(w[i], u[i]);
  if (dtype == ZO2_F16) {
    round_octet<ZO2_F16>(stochastic, seed, step, group, next);
  } else if (dtype == ZO2_BF16) {
    round_octet<ZO2_BF16>(stochastic, seed, step, group, next);
  }
  bool fits = true;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const bool finite = numerics::f32_is_finite(next[i]);
    w[i] = finite ? next[i] : w[i];
    fits = fits && (finite || !group.has(i));
  }
  return fits;
}

}  // namespace zo2::cuda::groups
