// A uniform prepare (prepare_uniform.cuh) as its kernels see it, and its slow way: a group of eight element by element,
// by numerics/ alone. It is for groups of which only some elements exist, and for those that hold a NaN or an infinity.
#pragma once

#include "contract/commands.h"
#include "cuda/kernel.h"
#include "cuda/ops/prepare_nan.cuh"
#include "cuda/ops/prepare_noise.cuh"
#include "cuda/ops/prepare_place.cuh"
#include "cuda/ops/sticky.cuh"
#include "numerics/gaussian.h"
#include "numerics/rounding.h"
#include "numerics/update.h"

namespace zo2::cuda {

// A stream of noise (numerics::NoiseStream), made ready on the host.
struct DrawnNoise {
  noise::RoundKeys keys;
  uint32_t step;
  uint32_t tag;
};

struct UniformJob {
  const zo2_segment* segments;
  uint64_t segment_count;
  uint8_t* wire;
  contract::PrepareSide sides[contract::kMaxSides];
  uint32_t side_count;
  bool draws;
  bool store;
  bool updates;
  bool stochastic;
  bool gaussian;  // otherwise Rademacher
  DrawnNoise noise;

  // The update, if there is one.
  DrawnNoise update;
  uint32_t rounding_tag;  // of the stream that has the update's keys and step
  float b;
  double learning_rate;
  const zo2_coefficient* coefficient;
  zo2_sticky* sticky;
};

__device__ inline uint32_t random_word(const DrawnNoise& noise, uint32_t tag, uint64_t canonical) {
  return noise::word_of(noise::philox(noise.keys, noise.step, tag, canonical >> 2),
                        static_cast<uint32_t>(canonical) & 3u);
}

__device__ inline float draw_single(bool gaussian, const DrawnNoise& noise, uint64_t canonical) {
  if (!gaussian) {
    const uint32_t signs = noise::eight_signs(noise::philox(noise.keys, noise.step, noise.tag, canonical >> 7),
                                              canonical / kGroup * kGroup);
    return numerics::rademacher_sign(signs, static_cast<uint32_t>(canonical) % kGroup);
  }
  const numerics::PhiloxWords words = noise::philox(noise.keys, noise.step, noise.tag, canonical >> 2);
  const bool upper = (canonical & 2) != 0;
  float first, second;
  noise::gaussian_pair(upper ? words.x[2] : words.x[0], upper ? words.x[3] : words.x[1], first, second);
  return (canonical & 1) != 0 ? second : first;
}

__device__ inline float load_single(uint32_t dtype, const unsigned char* from) {
  if (dtype == ZO2_F32) return *reinterpret_cast<const float*>(from);
  const uint16_t half = *reinterpret_cast<const uint16_t*>(from);
  return dtype == ZO2_F16 ? numerics::f16_to_f32(half) : numerics::bf16_to_f32(half);
}

__device__ inline void store_single(uint32_t dtype, float x, unsigned char* to) {
  if (dtype == ZO2_F32) {
    *reinterpret_cast<float*>(to) = x;
  } else {
    *reinterpret_cast<uint16_t*>(to) = dtype == ZO2_F16 ? numerics::f32_to_f16(x) : numerics::f32_to_bf16(x);
  }
}

__device__ inline float round_single(uint32_t dtype, bool stochastic, float x, uint32_t word) {
  if (dtype == ZO2_F32) return x;
  if (dtype == ZO2_F16)
    return numerics::f16_to_f32(stochastic ? numerics::f32_to_f16_stochastic(x, word) : numerics::f32_to_f16(x));
  return numerics::bf16_to_f32(stochastic ? numerics::f32_to_bf16_stochastic(x, word) : numerics::f32_to_bf16(x));
}

// Those elements of group number `group` of the segment that exist.
__device__ inline void prepare_single(const UniformJob& job, const zo2_segment& s, float a, uint64_t group) {
  const bool frozen = (s.flags & ZO2_SEGMENT_FROZEN) != 0, decays = (s.flags & ZO2_SEGMENT_DECAY) != 0;
  const uint32_t wire_bytes = s.wire_dtype == ZO2_F32 ? 4 : 2, scratch_bytes = s.scratch_dtype == ZO2_F32 ? 4 : 2;
  const uint64_t skew = s.canonical % kGroup, begin = group * kGroup;
  const uint64_t places = skew + s.count, end = begin + kGroup < places ? begin + kGroup : places;
#pragma unroll 1
  for (uint64_t place = begin < skew ? skew : begin; place < end; ++place) {
    const uint64_t element = place - skew, canonical = s.canonical + element;
    unsigned char* const wire = job.wire + s.wire_offset + element * wire_bytes;
    float w = load_single(s.wire_dtype, wire);
    if (job.updates && !frozen) {
      const float z = draw_single(job.gaussian, job.update, canonical);
      const float u = numerics::update_add(a, z, numerics::update_begin(decays ? job.b : 0.0f, w));
      const uint32_t word = job.stochastic ? random_word(job.update, job.rounding_tag, canonical) : 0;
      const float next = round_single(s.wire_dtype, job.stochastic, numerics::update_end(w, u), word);
      if (numerics::f32_is_finite(next)) {
        w = next;
      } else {
        raise_sticky(job.sticky, ZO2_STICKY_OVERFLOW, job.update.step);
      }
      if (job.store) store_single(s.wire_dtype, w, wire);
    }
    const bool draws = job.draws && !frozen;
    const float z = draws ? draw_single(job.gaussian, job.noise, canonical) : 0.0f;
    for (uint32_t side = 0; side < job.side_count; ++side)
      store_single(s.scratch_dtype, draws ? perturb_any(job.sides[side].eps, z, w) : w,
                   job.sides[side].scratch + s.scratch_offset + element * scratch_bytes);
  }
}

}  // namespace zo2::cuda
