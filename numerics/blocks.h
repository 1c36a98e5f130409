// Blocks: 64 consecutive elements of one row (the last of a row may have fewer), each in a byte, with one scale for all
// of them: 2^(E - 127), of which the byte E is stored (OCP Microscaling's E8M0). The value of an element is q 2^(E -
// 127), with q an int8 in -127 .. 127 or an OCP e4m3fn of at most 448; zero is always +0, and NaN is never stored.
//
// Of the values w of a block, the scale is the smallest power of two, at least 2^(kLeastScale - 127), with max |w| /
// scale <= kLargest; E = 0 where all are 0. q is w / scale, a product with a power of two that is exact (but below
// 2^-126, where no step is that small), rounded to nearest even or stochastically on the steps of q: up from the step
// below |w| / scale with the probability of the rest, cut to 31 bits. Neither leaves the range.
//
// kLeastScale keeps the smallest step of q a normal number, so that every value is 0 or a normal fp32 and bf16. Above
// kLimit a value would not be finite: such a weight does not fit.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

constexpr uint32_t kBlock = 64;

namespace {

struct Int8 {
  static constexpr uint32_t kLeastScale = 1;
  static constexpr uint32_t kExponent = 6;              // of the largest q, 127
  static constexpr uint32_t kRoundsScaleUp = 0x1ffffu;  // carries an fp32 mantissa above that of the largest q
  static constexpr float kLimit = 0x1.fcp+127f;         // 127 2^121

  ZO2_HD static inline uint32_t binade(float) { return 0; }
  ZO2_HD static inline float steps_per_scale(uint32_t) { return 1.0f; }
  ZO2_HD static inline float step(uint32_t scale, uint32_t) { return bits_float(scale << 23); }
  ZO2_HD static inline uint8_t byte(uint32_t, uint32_t steps, bool negative) {
    return static_cast<uint8_t>(negative ? 0u - steps : steps);
  }
  ZO2_HD static inline float value(uint8_t q, uint32_t scale) {
    return f32_mul(f32_from_i32(static_cast<int8_t>(q)), step(scale, 0));
  }
};

// Binade t has the steps 2^(t - 9): t = 0 holds the subnormals and [2^-6, 2^-5), t = 14 ends at 448.
struct E4m3 {
  static constexpr uint32_t kLeastScale = 10;
  static constexpr uint32_t kExponent = 8;  // of the largest q, 448
  static constexpr uint32_t kRoundsScaleUp = 0x1fffffu;
  static constexpr float kLimit = 0x1.cp+127f;  // 448 2^119

  ZO2_HD static inline uint32_t binade(float magnitude) {
    const uint32_t exponent = float_bits(magnitude) >> 23;
    return exponent > 121u ? exponent - 121u : 0u;
  }
  ZO2_HD static inline float steps_per_scale(uint32_t t) { return bits_float((136u - t) << 23); }
  // 0 for the scale of a block of zeros.
  ZO2_HD static inline float step(uint32_t scale, uint32_t t) {
    return bits_float(((scale > 9u ? scale : 9u) + t - 9u) << 23);
  }
  ZO2_HD static inline uint8_t byte(uint32_t t, uint32_t steps, bool negative) {
    return static_cast<uint8_t>(((t << 3) + steps) | (negative && steps != 0u ? 0x80u : 0u));
  }
  ZO2_HD static inline float value(uint8_t q, uint32_t scale) {
    const uint32_t magnitude = q & 0x7fu, t = magnitude >= 16u ? (magnitude >> 3) - 1u : 0u;
    const int32_t steps = static_cast<int32_t>(magnitude - (t << 3));
    return f32_mul(f32_from_i32((q & 0x80u) != 0u ? -steps : steps), step(scale, t));
  }
};

// E of a block, from the largest magnitude in it: at most kLimit.
template <class Format>
ZO2_HD static inline uint32_t block_scale(float largest) {
  const uint32_t bits = float_bits(largest);
  if (bits == 0u) return 0u;
  const uint32_t exponent = (bits + Format::kRoundsScaleUp) >> 23;
  return exponent < Format::kLeastScale + Format::kExponent ? Format::kLeastScale : exponent - Format::kExponent;
}

// What |w| / scale is multiplied out to: steps of q, below 2^7. `t`: its binade.
template <class Format>
ZO2_HD static inline float block_steps(float w, uint32_t scale, uint32_t& t) {
  const float magnitude = f32_mul(bits_float(float_bits(w) & 0x7fffffffu), bits_float((254u - scale) << 23));
  t = Format::binade(magnitude);
  return f32_mul(magnitude, Format::steps_per_scale(t));
}

// At 2^23 the spacing of fp32 is 1, so this addition rounds to whole steps.
ZO2_HD static inline uint32_t steps_nearest(float steps) { return float_bits(f32_add(steps, 0x1p23f)) - 0x4b000000u; }

ZO2_HD static inline uint32_t steps_stochastic(float steps, uint32_t word) {
  const uint32_t whole = static_cast<uint32_t>(steps);
  const float rest = f32_sub(steps, f32_from_i32(static_cast<int32_t>(whole)));
  return whole + ((word >> 1) < static_cast<uint32_t>(f32_mul(rest, 0x1p31f)) ? 1u : 0u);
}

// w = q 2^(E - 127), and the byte of q.
template <class Format>
ZO2_HD static inline uint8_t quantise(bool stochastic, uint32_t scale, uint32_t word, float& w) {
  uint32_t t;
  const float steps = block_steps<Format>(w, scale, t);
  const uint32_t whole = stochastic ? steps_stochastic(steps, word) : steps_nearest(steps);
  const bool negative = float_bits(w) >> 31 != 0u;
  const int32_t signed_steps = static_cast<int32_t>(whole);
  w = f32_mul(f32_from_i32(negative ? -signed_steps : signed_steps), Format::step(scale, t));
  return Format::byte(t, whole, negative);
}

// Whether a weight has a place in a block: finite, and not above the limit.
template <class Format>
ZO2_HD static inline bool fits_block(float w) {
  return (float_bits(w) & 0x7fffffffu) <= float_bits(Format::kLimit);
}

}  // namespace
}  // namespace zo2::numerics
