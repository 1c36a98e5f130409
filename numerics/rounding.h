// fp32 to and from fp16 and bf16 (all as bit patterns), to nearest even and stochastically.
//
// NaN stays NaN, made quiet, with its sign and the upper bits of its payload (as the F16C instructions do). Nearest
// rounding gives infinity on overflow; prepare turns that into an error before anything is stored.
//
// Stochastic rounding adds uniform random bits below the last kept one to the fp32 pattern and truncates: 16 bits for
// bf16, 13 for fp16. Magnitudes only grow by the carry, so the expected value is the fp32 value. Below fp16's normal
// range, where the dropped bits are more than 13, it rounds to nearest even instead. Element i uses position q = i >> 2
// of the stream (seed and step of the update, purpose 2, direction 0), word i & 3 of x0..x3, and of that word the low
// 16 (bf16) or low 13 (fp16) bits.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

constexpr uint32_t kF32Infinity = 0x7f800000u;
constexpr uint32_t kF16SmallestNormal = 0x38800000u;  // 2^-14 as fp32
constexpr uint32_t kF16Beyond = 0x47800000u;          // 2^16 as fp32: the first fp16 binade that does not exist
constexpr uint32_t kF16RoundsUp = 0x477ff000u;        // 65520 as fp32: halfway between the largest fp16 and 2^16
constexpr uint32_t kF16Rebias = 112u << 10;           // (127 - 15), at fp16's exponent

ZO2_HD static inline float f16_to_f32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u, mantissa = half & 0x3ffu;
  if (exponent == 31u) return bits_float(sign | kF32Infinity | mantissa << 13 | (mantissa ? 0x400000u : 0u));
  if (exponent == 0u)
    return bits_float(sign | float_bits(f32_mul(f32_from_i32(static_cast<int32_t>(mantissa)), 0x1p-24f)));
  return bits_float(sign | (exponent + 112u) << 23 | mantissa << 13);
}

ZO2_HD static inline uint16_t f32_to_f16(float x) {
  const uint32_t bits = float_bits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > kF32Infinity) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= kF16RoundsUp) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < kF16SmallestNormal) {
    // The spacing of fp32 at 1/2 is that of fp16's subnormals, so this addition rounds to them.
    const uint32_t sum = float_bits(f32_add(bits_float(magnitude), 0.5f));
    return static_cast<uint16_t>(sign | (sum - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - kF16Rebias));
}

ZO2_HD static inline uint16_t f32_to_f16_stochastic(float x, uint32_t word) {
  const uint32_t bits = float_bits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude >= kF32Infinity || magnitude < kF16SmallestNormal) return f32_to_f16(x);
  const uint32_t truncated = (magnitude + (word & 0x1fffu)) >> 13;
  if (truncated >= kF16Beyond >> 13) return static_cast<uint16_t>(sign | 0x7c00u);
  return static_cast<uint16_t>(sign | (truncated - kF16Rebias));
}

ZO2_HD static inline float bf16_to_f32(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  return bits_float((bits & 0x7fffffffu) > kF32Infinity ? bits | 0x400000u : bits);
}

ZO2_HD static inline uint16_t f32_to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffffu) > kF32Infinity) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

ZO2_HD static inline uint16_t f32_to_bf16_stochastic(float x, uint32_t word) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffffu) >= kF32Infinity) return f32_to_bf16(x);
  return static_cast<uint16_t>((bits + (word & 0xffffu)) >> 16);
}

}  // namespace zo2::numerics
