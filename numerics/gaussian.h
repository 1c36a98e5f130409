// Standard normal noise: element i takes position q = i >> 2 of its stream, and of its words x0..x3
//   z[4q] = r cos(pi t), z[4q+1] = r sin(pi t) from x0 (radius) and x1 (angle)
//   z[4q+2], z[4q+3] likewise from x2 and x3
// (Box and Muller, 1958).
//
// Radius: u = (x >> 9) 2^-23 + 2^-24 lies strictly inside (0, 1); 23 bits, because with 24 the largest u rounds to 1 in
// fp32. The largest |z| is sqrt(48 ln 2) = 5.77. Angle: t is uniform in (-1/2, 1/2), half of the circle; bit 0 of the
// angle word, which t does not use, negates the radius and so adds the half turn. No quadrant is ever selected.
//
// |z - z in exact arithmetic| < 1e-6 for every pair of words (test/native/cpp/gaussian_test.cc bounds it over all of
// them). The polynomials are minimax fits made by scripts/golden/fit.py; every coefficient is an fp32 value.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"
#include "numerics/philox.h"

namespace zo2::numerics {

// sqrt(-2 ln u) with u from the upper 23 bits of `word`.
template <class O>
ZO2_HD static inline typename O::F gaussian_radius(typename O::I word) {
  using F = typename O::F;
  using I = typename O::I;
  const F u = O::fma(O::from_signed(O::template shift_right<9>(word)), O::splat(0x1p-23f), O::splat(0x1p-24f));
  // u = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): subtracting the pattern of sqrt(1/2) puts e in the exponent
  // field.
  const I origin = O::splat_bits(0x3f3504f3u);
  const I shifted = O::sub_bits(O::bits(u), origin);
  const F e = O::from_signed(O::template shift_right_signed<23>(shifted));
  const F f =
      O::sub(O::from_bits(O::add_bits(O::and_bits(shifted, O::splat_bits(0x007fffffu)), origin)), O::splat(1.0f));
  // core = (-2 ln(1 + f) + 2 f) / f^2, relative error of the whole logarithm 4e-9.
  F core = O::splat(0x1.38506ep-3f);
  core = O::fma(core, f, O::splat(-0x1.087d76p-2f));
  core = O::fma(core, f, O::splat(0x1.0f4cb4p-2f));
  core = O::fma(core, f, O::splat(-0x1.226b34p-2f));
  core = O::fma(core, f, O::splat(0x1.542422p-2f));
  core = O::fma(core, f, O::splat(-0x1.99a428p-2f));
  core = O::fma(core, f, O::splat(0x1.000438p-1f));
  core = O::fma(core, f, O::splat(-0x1.555550p-1f));
  core = O::fma(core, f, O::splat(0x1.fffff8p-1f));
  const F small = O::fma(O::mul(f, f), core, O::mul(f, O::splat(-2.0f)));
  return O::sqrt(O::fma(e, O::splat(-0x1.62e430p+0f), small));
}

// cos(pi t) and sin(pi t) with t = (2 s + 1) 2^-25, s the upper 24 bits of `word` as a signed number.
template <class O>
ZO2_HD static inline void gaussian_angle(typename O::I word, typename O::F& cosine, typename O::F& sine) {
  using F = typename O::F;
  const F t = O::fma(O::from_signed(O::template shift_right_signed<8>(word)), O::splat(0x1p-24f), O::splat(0x1p-25f));
  const F q = O::mul(t, t);
  // sin(pi t) = 2 t + t s: where the sine is near 1, 2 t is exact and s near 0, so that little is rounded.
  F s = O::splat(0x1.3cc7f8p-4f);
  s = O::fma(s, q, O::splat(-0x1.323d14p-1f));
  s = O::fma(s, q, O::splat(0x1.4667fep+1f));
  s = O::fma(s, q, O::splat(-0x1.4abbbcp+2f));
  s = O::fma(s, q, O::splat(0x1.243f6ap+0f));
  sine = O::fma(t, s, O::mul(t, O::splat(2.0f)));
  F c = O::splat(-0x1.889f62p-6f);
  c = O::fma(c, q, O::splat(0x1.e0a1e0p-3f));
  c = O::fma(c, q, O::splat(-0x1.55cd26p+0f));
  c = O::fma(c, q, O::splat(0x1.03c1d4p+2f));
  c = O::fma(c, q, O::splat(-0x1.3bd3ccp+2f));
  cosine = O::fma(c, q, O::splat(1.0f));
}

// Two normals from two words.
template <class O>
ZO2_HD static inline void gaussian_pair(typename O::I radius_word, typename O::I angle_word, typename O::F& first,
                                        typename O::F& second) {
  typename O::F cosine, sine;
  gaussian_angle<O>(angle_word, cosine, sine);
  const typename O::I half_turn = O::template shift_left<31>(angle_word);
  const typename O::F radius = O::from_bits(O::xor_bits(O::bits(gaussian_radius<O>(radius_word)), half_turn));
  first = O::mul(radius, cosine);
  second = O::mul(radius, sine);
}

// The four normals of position q of a Gaussian stream: elements 4q .. 4q+3.
ZO2_HD static inline void gaussian_quad(const NoiseStream& stream, uint64_t q, float z[4]) {
  const PhiloxWords words = philox_at(stream, q);
  gaussian_pair<ScalarOps>(words.x[0], words.x[1], z[0], z[1]);
  gaussian_pair<ScalarOps>(words.x[2], words.x[3], z[2], z[3]);
}

}  // namespace zo2::numerics
