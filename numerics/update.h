// The update and the perturbation, element by element: MeZO's SGD (Malladi et al., "Fine-tuning language models with
// just forward passes", NeurIPS 2023) with decoupled weight decay, for D directions
//   u = b w;  u = fma(a_d, z_d, u) for d = 0..D-1 in order;  w' = w - u
// Decay is inside u, not a factor 1 - lr wd on w: that factor rounds to 1 in fp32 below lr wd = 3e-8, and decay would
// vanish.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

// a_d = lr g_d / D in fp64, rounded once.
ZO2_HD static inline float update_coefficient(double learning_rate, float g, uint32_t directions) {
  return f32_from_f64(f64_div(f64_mul(learning_rate, static_cast<double>(g)), static_cast<double>(directions)));
}

// b = lr wd in fp64, rounded once.
ZO2_HD static inline float decay_coefficient(double learning_rate, double weight_decay) {
  return f32_from_f64(f64_mul(learning_rate, weight_decay));
}

ZO2_HD static inline float update_begin(float b, float w) { return f32_mul(b, w); }
ZO2_HD static inline float update_add(float a, float z, float u) { return f32_fma(a, z, u); }
ZO2_HD static inline float update_end(float w, float u) { return f32_sub(w, u); }

// The weight of one side, fp32, before it is rounded to the compute dtype.
ZO2_HD static inline float perturb(float eps, float z, float w) { return f32_fma(eps, z, w); }

}  // namespace zo2::numerics
