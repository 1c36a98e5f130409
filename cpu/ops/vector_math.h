// exp and the normal distribution's tail on eight fp32 lanes, by polynomials of our own
// (scripts/golden/fit_vector_math.py).
//
// Largest relative error against double precision, as test/native/cpp/ops_test.cc checks it:
//   exponential   2e-7 over [-87.3, 88]
//   gelu          8e-7 for x > -3, 2e-6 down to -6, 5e-6 down to -10
//   gelu_tanh     1e-6 for x > -3, 5e-6 down to -6
//   silu          5e-7 for x > -80
// NaN gives NaN.
#pragma once

#include "cpu/ops/simd.h"

namespace zo2::cpu::ZO2_ISA {

// e^x. Below -87.3 it is 0 (no subnormals); above 88.3 it stays at e^88.3.
ZO2_INLINE Vec exponential(Vec x) {
  const Vec lowest = splat(-87.3f);
  const Vec clamped = maximum(lowest, minimum(splat(88.3f), x));
  const Vec n = nearest_integer(clamped * splat(0x1.715476p0f));
  // ln 2 in two parts, the first with 10 bits, so that n times it is exact.
  Vec r = multiply_add(n, splat(-0x1.63p-1f), clamped);
  r = multiply_add(n, splat(0x1.bd0106p-13f), r);
  Vec p = splat(0x1.687a6ap-10f);
  p = multiply_add(p, r, splat(0x1.123c28p-7f));
  p = multiply_add(p, r, splat(0x1.555b5ep-5f));
  p = multiply_add(p, r, splat(0x1.55548ep-3f));
  p = multiply_add(p, r, splat(0x1.fffff8p-2f));
  p = multiply_add(p, r, splat(1.0f));
  p = multiply_add(p, r, splat(1.0f));
  return where_less(x, lowest, splat(0.0f), p * power_of_two(n));
}

// The normal distribution's tail Phi(-s) = erfc(s / sqrt 2) / 2 for s >= 0: t exp(P(t) - s^2 / 2) with t = 1 / (1 +
// 0.35 s). Relative accuracy holds in the tail, where 1 + erf would cancel.
ZO2_INLINE Vec normal_tail(Vec s) {
  const Vec t = splat(1.0f) / multiply_add(s, splat(0.35f), splat(1.0f));
  Vec p = splat(0x1.3960d2p-3f);
  p = multiply_add(p, t, splat(-0x1.79688ap-1f));
  p = multiply_add(p, t, splat(0x1.505fe4p+0f));
  p = multiply_add(p, t, splat(-0x1.d6693cp-1f));
  p = multiply_add(p, t, splat(0x1.585d02p-4f));
  p = multiply_add(p, t, splat(-0x1.03847ep-4f));
  p = multiply_add(p, t, splat(0x1.e26bc8p-5f));
  p = multiply_add(p, t, splat(0x1.8b36d4p-2f));
  p = multiply_add(p, t, splat(0x1.ff72d8p-1f));
  p = multiply_add(p, t, splat(-0x1.f7fd38p+0f));
  return t * exponential(multiply_add(s * splat(-0.5f), s, p));
}

// x Phi(x), the exact GELU: x (1 + erf(x / sqrt 2)) / 2.
ZO2_INLINE Vec gelu(Vec x) {
  const Vec tail = normal_tail(magnitude(x));
  return x * where_less(x, splat(0.0f), tail, splat(1.0f) - tail);
}

// x / (1 + e^-y). Where e^-y is above the largest fp32 it stands still, so that x / infinity does not hide an infinite
// x.
ZO2_INLINE Vec times_logistic(Vec x, Vec y) { return x / (splat(1.0f) + exponential(splat(0.0f) - y)); }

ZO2_INLINE Vec silu(Vec x) { return times_logistic(x, x); }

// The GELU with a hyperbolic tangent: (1 + tanh(u)) / 2 is the logistic function of 2 u, u = sqrt(2 / pi) (x + 0.044715
// x^3).
ZO2_INLINE Vec gelu_tanh(Vec x) {
  const Vec twice = x * splat(1.5957691216057308f);
  return times_logistic(x, multiply_add(twice * splat(0.044715f), x * x, twice));
}

}  // namespace zo2::cpu::ZO2_ISA
