// Eight elements with consecutive canonical indices, in the registers of one thread: read, noise, update, write. Groups
// begin at multiples of eight, so that a group needs two counters of Gaussian noise, two of rounding, and one of signs.
// Only elements begin .. end - 1 exist; the others are computed along and never read or written.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"
#include "numerics/gaussian.h"
#include "numerics/rademacher.h"
#include "numerics/rounding.h"
#include "numerics/update.h"

namespace zo2::cuda::groups {

constexpr int kGroup = 8;

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

// The hardware converts as numerics/ does, but for the payload of a NaN.
__device__ inline float widen_f16(uint16_t half) {
  return (half & 0x7c00u) == 0x7c00u ? numerics::f16_to_f32(half) : __half2float(__ushort_as_half(half));
}
__device__ inline uint16_t narrow_f16(float x) {
  return x != x ? numerics::f32_to_f16(x) : __half_as_ushort(__float2half_rn(x));
}

__device__ inline float widen(uint32_t dtype, uint16_t half) {
  return dtype == ZO2_F16 ? widen_f16(half) : numerics::bf16_to_f32(half);
}
__device__ inline uint16_t narrow(uint32_t dtype, float x) {
  return dtype == ZO2_F16 ? narrow_f16(x) : numerics::f32_to_bf16(x);
}

// Elements of a segment that begins at `base`, as fp32; 0 where no element exists.
__device__ inline void load_group(uint32_t dtype, const unsigned char* base, const Group& group, float (&w)[kGroup]) {
  if (dtype == ZO2_F32) {
    const float* const from = reinterpret_cast<const float*>(base) + group.element;
    if (is_vector(group, from)) {
      const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
      w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w;
      w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
      return;
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) w[i] = group.has(i) ? from[i] : 0.0f;
    return;
  }
  const uint16_t* const from = reinterpret_cast<const uint16_t*>(base) + group.element;
  uint16_t halves[kGroup];
  if (is_vector(group, from)) {
    const uint4 four = *reinterpret_cast<const uint4*>(from);
    const uint32_t pairs[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < kGroup; ++i) halves[i] = static_cast<uint16_t>(pairs[i / 2] >> (i % 2 * 16));
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) halves[i] = group.has(i) ? from[i] : uint16_t{0};
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) w[i] = widen(dtype, halves[i]);
}

// The inverse: each value rounded once, to nearest even.
__device__ inline void store_group(uint32_t dtype, unsigned char* base, const Group& group, const float (&w)[kGroup]) {
  if (dtype == ZO2_F32) {
    float* const to = reinterpret_cast<float*>(base) + group.element;
    if (is_vector(group, to)) {
      reinterpret_cast<float4*>(to)[0] = make_float4(w[0], w[1], w[2], w[3]);
      reinterpret_cast<float4*>(to)[1] = make_float4(w[4], w[5], w[6], w[7]);
      return;
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (group.has(i)) to[i] = w[i];
    }
    return;
  }
  uint16_t* const to = reinterpret_cast<uint16_t*>(base) + group.element;
  uint32_t halves[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; ++i) halves[i] = narrow(dtype, w[i]);
  if (is_vector(group, to)) {
    *reinterpret_cast<uint4*>(to) = make_uint4(halves[0] | halves[1] << 16, halves[2] | halves[3] << 16,
                                               halves[4] | halves[5] << 16, halves[6] | halves[7] << 16);
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    if (group.has(i)) to[i] = static_cast<uint16_t>(halves[i]);
  }
}

// Selects without indexing, which would put the words into local memory.
__device__ inline uint32_t word_of(const numerics::PhiloxWords& words, uint32_t index) {
  const uint32_t low = (index & 1u) != 0 ? words.x[1] : words.x[0];
  const uint32_t high = (index & 1u) != 0 ? words.x[3] : words.x[2];
  return (index & 2u) != 0 ? high : low;
}

// The noise of one direction; `table` is that of BUFFER noise.
__device__ inline void noise_group(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction,
                                   const float* table, const Group& group, float (&z)[kGroup]) {
  if (kind == ZO2_NOISE_GAUSSIAN) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeGaussian, direction);
    numerics::gaussian_quad(stream, group.canonical >> 2, z);
    numerics::gaussian_quad(stream, (group.canonical >> 2) + 1, z + 4);
  } else if (kind == ZO2_NOISE_RADEMACHER) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeRademacher, direction);
    const uint32_t word =
        word_of(numerics::philox_at(stream, group.canonical >> 7), static_cast<uint32_t>(group.canonical >> 5) & 3u);
    const uint32_t first_bit = static_cast<uint32_t>(group.canonical) & 31u;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) z[i] = numerics::rademacher_sign(word, first_bit + static_cast<uint32_t>(i));
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) z[i] = group.has(i) ? table[group.canonical + static_cast<uint64_t>(i)] : 0.0f;
  }
}

// x rounded to the wire dtype, as fp32. `word` is used when `stochastic`.
__device__ inline float round_to_wire(uint32_t dtype, bool stochastic, float x, uint32_t word) {
  if (dtype == ZO2_F32) return x;
  if (!stochastic) return widen(dtype, narrow(dtype, x));
  return dtype == ZO2_F16 ? widen_f16(numerics::f32_to_f16_stochastic(x, word))
                          : numerics::bf16_to_f32(numerics::f32_to_bf16_stochastic(x, word));
}

// w = round(w - u) where that is finite; elsewhere w stays. False when an element that exists stayed. `seed` and `step`
// are those of the update.
__device__ inline bool replace_group(uint32_t dtype, bool stochastic, uint64_t seed, uint32_t step, const Group& group,
                                     const float (&u)[kGroup], float (&w)[kGroup]) {
  numerics::PhiloxWords words[2] = {};
  if (stochastic && dtype != ZO2_F32) {
    const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeRounding, 0);
    words[0] = numerics::philox_at(stream, group.canonical >> 2);
    words[1] = numerics::philox_at(stream, (group.canonical >> 2) + 1);
  }
  bool fits = true;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const float next = round_to_wire(dtype, stochastic, numerics::update_end(w[i], u[i]), words[i / 4].x[i % 4]);
    const bool finite = numerics::f32_is_finite(next);
    w[i] = finite ? next : w[i];
    fits = fits && (finite || !group.has(i));
  }
  return fits;
}

}  // namespace zo2::cuda::groups
