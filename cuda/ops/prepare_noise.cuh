// Noise as the GPU makes it: the bits of numerics/gaussian.h and numerics/rademacher.h by fewer instructions.
//
// A product with a power of two is exact, so that the coefficients and arguments of the polynomials are scaled where
// that saves an operation. The square root is one approximation with one correction, which gives the correctly rounded
// root of every radicand that occurs for every approximation within kRsqrtError. cuda_noise_test shows both for all
// 2^23 radii and 2^24 angles.
#pragma once

#include "contract/zo2.h"
#include "cuda/instructions/rsqrt.h"
#include "cuda/kernel.h"
#include "numerics/philox.h"
#include "numerics/rademacher.h"

namespace zo2::cuda::noise {

// The keys of Philox's rounds: the same for all threads, so that a kernel has them as an argument.
struct RoundKeys {
  uint32_t low[numerics::kPhiloxRounds];
  uint32_t high[numerics::kPhiloxRounds];
};

ZO2_HD inline RoundKeys round_keys(uint64_t seed) {
  RoundKeys keys;
  uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < numerics::kPhiloxRounds; ++round) {
    keys.low[round] = low, keys.high[round] = high;
    low += numerics::kPhiloxKeyStep0, high += numerics::kPhiloxKeyStep1;
  }
  return keys;
}

// numerics::philox_at for the stream of a seed's keys, a step and a tag (numerics::NoiseStream).
__device__ inline numerics::PhiloxWords philox(const RoundKeys& keys, uint32_t step, uint32_t tag, uint64_t q) {
  uint32_t c0 = static_cast<uint32_t>(q), c1 = static_cast<uint32_t>(q >> 32), c2 = step, c3 = tag;
#pragma unroll
  for (int round = 0; round < numerics::kPhiloxRounds; ++round) {
    const uint32_t high0 = __umulhi(numerics::kPhiloxMultiplier0, c0), low0 = numerics::kPhiloxMultiplier0 * c0;
    const uint32_t high1 = __umulhi(numerics::kPhiloxMultiplier1, c2), low1 = numerics::kPhiloxMultiplier1 * c2;
    c0 = high1 ^ c1 ^ keys.low[round];
    c1 = low1;
    c2 = high0 ^ c3 ^ keys.high[round];
    c3 = low0;
  }
  return {{c0, c1, c2, c3}};
}

// The correctly rounded root of a radicand of gaussian_radius, from an approximation of 1 / sqrt(x).
__device__ inline float corrected_root(float x, float reciprocal) {
  // 2^-24 less than the obvious product: of nearby offsets the one with which no root at all is wrong. With 0 there is
  // one radicand of which the worst approximations give the neighbour of its root.
  const float root = numerics::f32_fma(x, reciprocal, -0x1p-24f), half = numerics::f32_mul(0.5f, reciprocal);
  return numerics::f32_fma(numerics::f32_fma(-root, root, x), half, root);
}

// The radicand of numerics::gaussian_radius: -2 ln u, with 2^32 u an odd multiple of 256. `g` is -2 f, the polynomial a
// quarter of the one there.
__device__ inline float radicand(uint32_t word) {
  using numerics::f32_fma;
  const uint32_t scaled = __float_as_uint(__uint2float_rn((word & 0xfffffe00u) | 0x100u));
  const uint32_t exponent = (scaled - (0x3f3504f3u + (32u << 23))) & 0xff800000u;
  const float g = f32_fma(__uint_as_float(scaled - exponent), -0x1p-31f, 2.0f);
  float core = 0x1.38506ep-3f * 0x1p-10f;
  core = f32_fma(core, g, 0x1.087d76p-2f * 0x1p-9f);
  core = f32_fma(core, g, 0x1.0f4cb4p-2f * 0x1p-8f);
  core = f32_fma(core, g, 0x1.226b34p-2f * 0x1p-7f);
  core = f32_fma(core, g, 0x1.542422p-2f * 0x1p-6f);
  core = f32_fma(core, g, 0x1.99a428p-2f * 0x1p-5f);
  core = f32_fma(core, g, 0x1.000438p-1f * 0x1p-4f);
  core = f32_fma(core, g, 0x1.555550p-1f * 0x1p-3f);
  core = f32_fma(core, g, 0x1.fffff8p-1f * 0x1p-2f);
  const float small = f32_fma(numerics::f32_mul(g, g), core, g);
  return f32_fma(__int2float_rn(static_cast<int>(exponent)), -0x1.62e430p+0f * 0x1p-23f, small);
}

// numerics::gaussian_angle: cos and sin of pi t, with 2^32 t an odd multiple of 128.
__device__ inline void angle(uint32_t word, float& cosine, float& sine) {
  using numerics::f32_fma;
  const float twice =
      numerics::f32_mul(__int2float_rn(static_cast<int>((word & 0xffffff00u) | 0x80u)), 0x1p-31f);  // 2 t
  const float q = numerics::f32_mul(twice, twice);                                                  // 4 t^2
  float s = 0x1.3cc7f8p-4f * 0x1p-9f;
  s = f32_fma(s, q, -0x1.323d14p-1f * 0x1p-7f);
  s = f32_fma(s, q, 0x1.4667fep+1f * 0x1p-5f);
  s = f32_fma(s, q, -0x1.4abbbcp+2f * 0x1p-3f);
  s = f32_fma(s, q, 0x1.243f6ap+0f * 0x1p-1f);
  sine = f32_fma(twice, s, twice);
  float c = -0x1.889f62p-6f * 0x1p-10f;
  c = f32_fma(c, q, 0x1.e0a1e0p-3f * 0x1p-8f);
  c = f32_fma(c, q, -0x1.55cd26p+0f * 0x1p-6f);
  c = f32_fma(c, q, 0x1.03c1d4p+2f * 0x1p-4f);
  c = f32_fma(c, q, -0x1.3bd3ccp+2f * 0x1p-2f);
  cosine = f32_fma(c, q, 1.0f);
}

// numerics::gaussian_pair.
__device__ inline void gaussian_pair(uint32_t radius_word, uint32_t angle_word, float& first, float& second) {
  const float x = radicand(radius_word);
  const uint32_t root = __float_as_uint(corrected_root(x, rsqrt_fast(x)));
  const float radius = __uint_as_float(root + (angle_word << 31));  // the root is positive
  float cosine, sine;
  angle(angle_word, cosine, sine);
  first = numerics::f32_mul(radius, cosine);
  second = numerics::f32_mul(radius, sine);
}

__device__ inline void gaussian_quad(const numerics::PhiloxWords& words, float* z) {
  gaussian_pair(words.x[0], words.x[1], z[0], z[1]);
  gaussian_pair(words.x[2], words.x[3], z[2], z[3]);
}

// Selects without indexing, which would put the words into local memory.
__device__ inline uint32_t word_of(const numerics::PhiloxWords& words, uint32_t index) {
  const uint32_t low = (index & 1u) != 0 ? words.x[1] : words.x[0];
  const uint32_t high = (index & 1u) != 0 ? words.x[3] : words.x[2];
  return (index & 2u) != 0 ? high : low;
}

// The signs of eight elements from canonical index `first` on, a multiple of 8, in the lowest bits; the bits above them
// are those of other elements.
__device__ inline uint32_t eight_signs(const numerics::PhiloxWords& words, uint64_t first) {
  return word_of(words, static_cast<uint32_t>(first >> 5) & 3u) >> (static_cast<uint32_t>(first) & 31u);
}

}  // namespace zo2::cuda::noise
