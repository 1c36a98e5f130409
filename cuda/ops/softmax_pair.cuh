// A maximum with the sum of exponentials relative to it: what is kept of a row of logits.
#pragma once

#include "cuda/kernel.h"

namespace zo2::cuda {

struct SoftmaxPair {
  float maximum;
  float sum;
};

__device__ inline SoftmaxPair no_logits() { return {-INFINITY, 0.0f}; }

// exp(from - to) for from <= to, with 1 where both are the same infinity.
__device__ inline float rescaling(float from, float to) { return from == to ? 1.0f : expf(from - to); }

// The pair of both sets of logits. merge(a, b) and merge(b, a) have the same bits. NaN stays in the sum.
__device__ inline SoftmaxPair merge(SoftmaxPair a, SoftmaxPair b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  return {maximum, a.sum * rescaling(a.maximum, maximum) + b.sum * rescaling(b.maximum, maximum)};
}

// What is subtracted from a logit before exp, so that a row of -infinity gives a sum of 0.
__device__ inline float shift_of(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

}  // namespace zo2::cuda
