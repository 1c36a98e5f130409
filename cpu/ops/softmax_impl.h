// Kernels of softmax and log-softmax. Compiled once per flavour: see simd.h.
#pragma once

#include "cpu/ops/rows_impl.h"

namespace zo2::cpu::ZO2_ISA {

constexpr float kMinusInfinity = -__builtin_inff();

static float row_maximum(const float* row, int64_t count) {
  Vec m0 = splat(kMinusInfinity), m1 = m0;
  int64_t i = 0;
  // The running maximum stands second: a NaN in the row leaves it as it is.
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    m0 = maximum(load(row + i), m0);
    m1 = maximum(load(row + i + kLanes), m1);
  }
  for (; i + kLanes <= count; i += kLanes) m0 = maximum(load(row + i), m0);
  if (i < count) m1 = maximum(load_part(row + i, count - i, kMinusInfinity), m1);
  return lanes_maximum(maximum(m0, m1));
}

static float exponential_sum(const float* row, float shift, int64_t count) {
  const Vec by = splat(shift);
  return sum_of(count, [&](int64_t i, int64_t lanes) {
    const Vec x = lanes == kLanes ? load(row + i) : load_part(row + i, lanes, kMinusInfinity);
    return exponential(x - by);
  });
}

static float softmax_block(float* scores, int64_t valid, int64_t count, float scale, float* running_maximum,
                           float* running_sum) {
  const Vec by = splat(scale);
  for_vectors(valid,
              [&](int64_t i, int64_t lanes) { store_lanes(scores + i, load_lanes(scores + i, lanes) * by, lanes); });
  const float before = *running_maximum, here = row_maximum(scores, valid);
  const float after = here > before ? here : before;
  const Vec shift = splat(after);
  const float sum = sum_of(valid, [&](int64_t i, int64_t lanes) {
    const Vec x = lanes == kLanes ? load(scores + i) : load_part(scores + i, lanes, kMinusInfinity);
    const Vec e = exponential(x - shift);
    store_lanes(scores + i, e, lanes);
    return e;
  });
  for (int64_t i = valid; i < count; i++) scores[i] = 0.0f;
  // Before the first block the maximum is -infinity, and nothing was accumulated.
  const float correction = before == after ? 1.0f : lanes_sum(exponential(splat(before - after))) * 0.125f;
  *running_maximum = after;
  *running_sum = *running_sum * correction + sum;
  return correction;
}

}  // namespace zo2::cpu::ZO2_ISA
