// fma in software: the bits of a hardware fp32 fma on a CPU without one (NaN results: some quiet NaN).
//
// The product of two fp32 values is exact in fp64 (48 bits, exponents far inside the range). The fp64 sum with the
// addend is rounded, and rounding it again to fp32 is wrong only where it lies exactly halfway between two fp32 values
// while the exact sum does not. In those cases the fp64 sum is moved by one unit towards the exact one. Halfway means
// one pattern of the 29 bits that fp32 drops for normal results; subnormal results drop more, so every one of them is
// examined.
#pragma once

#include <stdint.h>
#include <string.h>

namespace zo2::numerics {

#if defined(__CUDACC__)
__host__
#endif
    static inline float soft_fma(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double sum = product + addend;
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  const bool halfway = (bits & 0x1fffffffull) == 0x10000000ull;
  const bool subnormal = (bits & 0x7fffffffffffffffull) < 0x3810000000000000ull;  // below 2^-126
  if ((halfway || subnormal) && (bits & 1u) == 0) {
    // Knuth's two-sum: `error` is exactly (product + addend) - sum. Infinity and NaN never come here: their low bits
    // are 0.
    const double addend_part = sum - product;
    const double error = (product - (sum - addend_part)) + (addend - addend_part);
    if (error != 0.0) {
      bits = ((error > 0.0) == (sum > 0.0)) ? bits + 1 : bits - 1;
      memcpy(&sum, &bits, sizeof sum);
    }
  }
  return static_cast<float>(sum);
}

}  // namespace zo2::numerics
