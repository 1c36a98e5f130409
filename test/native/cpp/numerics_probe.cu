// Every function of numerics/ in device code, for scripts/check-ptx.sh. Compiled, never run.
#include "numerics/coefficients.h"
#include "numerics/gaussian.h"
#include "numerics/rademacher.h"
#include "numerics/rounding.h"
#include "numerics/update.h"

using namespace zo2::numerics;

namespace {
struct Difference {
  uint32_t minuend, subtrahend;
};
struct Coefficients {
  double losses[3];
  uint32_t probe_count, direction_count;
  Difference differences[2];
  double divisor;
  uint32_t shaping;
  bool normalised;
};
}  // namespace

extern "C" __global__ void numerics_probe(uint64_t seed, uint32_t step, float eps, double learning_rate,
                                          double weight_decay, double loss, uint32_t kind, float* w, uint16_t* half,
                                          float* z) {
  const uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  float quad[4];
  gaussian_quad(noise_stream(seed, step, kPurposeGaussian, 1), i, quad);
  const PhiloxWords signs = philox_at(noise_stream(seed, step, kPurposeRademacher, 1), i >> 7);
  const PhiloxWords words = philox_at(noise_stream(seed, step, kPurposeRounding, 0), i >> 2);
  const Coefficients c = {{loss, weight_decay, learning_rate}, kind, step, {{0, 1}, {2, 0}}, learning_rate, kind, true};
  const float g = coefficient_of(c, 7, kind);
  float u = update_begin(decay_coefficient(learning_rate, weight_decay), w[i]);
  u = update_add(update_coefficient(learning_rate, g, 3), quad[i & 3], u);
  const float next = update_end(f16_to_f32(half[i]), u);
  half[i] = f32_to_f16(next) ^ f32_to_f16_stochastic(next, words.x[0]) ^ f32_to_bf16(next) ^
            f32_to_bf16_stochastic(next, words.x[1]);
  w[i] = perturb(eps, rademacher_sign(signs.x[i & 3], i & 31),
                 f32_add(bf16_to_f32(half[i + 1]), f32_is_finite(next) ? 1.0f : 0.0f));
  for (int k = 0; k < 4; ++k) z[4 * i + k] = quad[k];
}
