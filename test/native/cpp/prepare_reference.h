// What prepare must do, element by element and straight from the contract: no tiles, no vector code, the C library's
// fma.
#pragma once

#include <math.h>
#include <string.h>

#include <memory>
#include <utility>
#include <vector>

#include "contract/commands.h"
#include "numerics/gaussian.h"
#include "numerics/rounding.h"

namespace zo2::test {

inline uint32_t dtype_bytes(uint32_t dtype) { return dtype == ZO2_F32 ? 4 : 2; }

inline float read_as(uint32_t dtype, const unsigned char* at) {
  if (dtype == ZO2_F32) {
    float x;
    memcpy(&x, at, 4);
    return x;
  }
  uint16_t half;
  memcpy(&half, at, 2);
  return dtype == ZO2_F16 ? numerics::f16_to_f32(half) : numerics::bf16_to_f32(half);
}

inline void write_as(uint32_t dtype, float x, unsigned char* at) {
  if (dtype == ZO2_F32) {
    memcpy(at, &x, 4);
    return;
  }
  const uint16_t half = dtype == ZO2_F16 ? numerics::f32_to_f16(x) : numerics::f32_to_bf16(x);
  memcpy(at, &half, 2);
}

inline float noise_of(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction, const float* table,
                      uint64_t index) {
  if (kind == ZO2_NOISE_BUFFER) return table[index];
  if (kind == ZO2_NOISE_GAUSSIAN) {
    float z[4];
    numerics::gaussian_quad(numerics::noise_stream(seed, step, numerics::kPurposeGaussian, direction), index >> 2, z);
    return z[index & 3];
  }
  const numerics::PhiloxWords words =
      numerics::philox_at(numerics::noise_stream(seed, step, numerics::kPurposeRademacher, direction), index >> 7);
  return (words.x[(index >> 5) & 3] >> (index & 31) & 1) != 0 ? -1.0f : 1.0f;
}

// The noise of an element of a segment, of a pass or an update.
template <class Drawn>
float noise_of(const Drawn& drawn, uint32_t direction, const float* table, const zo2_segment& s, uint64_t index) {
  if (drawn.noise != ZO2_NOISE_LOW_RANK) {
    return noise_of(drawn.noise, drawn.seed, drawn.step, direction, table, index);
  }
  if (s.row_width == 0) return noise_of(ZO2_NOISE_GAUSSIAN, drawn.seed, drawn.step, direction, table, index);
  const auto factor = [&](uint32_t purpose, uint32_t step, uint64_t at, uint32_t k) {
    float z[4];
    const numerics::NoiseStream stream =
        numerics::noise_stream(drawn.seed, step, static_cast<numerics::Purpose>(purpose), direction);
    numerics::gaussian_quad(stream, at / 4 + (uint64_t{k} << 56), z);
    return z[at % 4];
  };
  const uint64_t origin = s.canonical - uint64_t{s.first_row} * s.row_width, column = (index - origin) % s.row_width;
  float z = 0;
  for (uint32_t k = 0; k < drawn.rank; ++k)
    z = fmaf(factor(4, drawn.step, index - column, k), factor(5, drawn.column_step, origin + column, k), z);
  return z;
}

inline float rounded(uint32_t dtype, zo2_rounding rounding, float x, uint64_t seed, uint32_t step, uint64_t index) {
  if (dtype == ZO2_F32) return x;
  const uint32_t word =
      numerics::philox_at(numerics::noise_stream(seed, step, numerics::kPurposeRounding, 0), index >> 2).x[index & 3];
  if (dtype == ZO2_F16) {
    return numerics::f16_to_f32(rounding == ZO2_ROUND_STOCHASTIC ? numerics::f32_to_f16_stochastic(x, word)
                                                                 : numerics::f32_to_f16(x));
  }
  return numerics::bf16_to_f32(rounding == ZO2_ROUND_STOCHASTIC ? numerics::f32_to_bf16_stochastic(x, word)
                                                                : numerics::f32_to_bf16(x));
}

// An update with the memory that it names, which copies of it share.
struct OwnedUpdate {
  contract::PendingUpdate pending = {};

  void set_coefficients(const std::vector<float>& g) {
    coefficients_ = std::make_shared<std::vector<zo2_coefficient>>(g.size());
    for (size_t d = 0; d < g.size(); ++d) (*coefficients_)[d].value = g[d];
    pending.directions = static_cast<uint32_t>(g.size());
    pending.coefficients = coefficients_->data();
  }
  // BUFFER: tables of `stride` values, one for each direction.
  void set_noise(std::vector<float> z, uint64_t stride) {
    z_ = std::make_shared<std::vector<float>>(std::move(z));
    pending.z = z_->data();
    pending.z_stride = stride * sizeof(float);
  }

 private:
  std::shared_ptr<std::vector<zo2_coefficient>> coefficients_;
  std::shared_ptr<std::vector<float>> z_;
};

// Of low-rank noise, in units of which some segments are matrices.
constexpr uint32_t kRank = 3;

// An update of this step with decay and a coefficient of its own along each direction. BUFFER noise: tables of `table`
// values.
inline OwnedUpdate owned_update(zo2_noise_kind noise, uint32_t step, uint32_t directions, uint64_t table,
                                double learning_rate = 1e-3) {
  OwnedUpdate one;
  one.pending.noise = noise;
  one.pending.step = step;
  one.pending.seed = 0xfedcba9876543210ull;
  one.pending.learning_rate = learning_rate;
  one.pending.weight_decay = 0.1;
  one.pending.rank = kRank;
  one.pending.column_step = step / 5 * 5;
  std::vector<float> g;
  for (uint32_t d = 0; d < directions; ++d) g.push_back(static_cast<float>(1.3 - 0.9 * d + 0.01 * step));
  one.set_coefficients(g);
  if (noise == ZO2_NOISE_BUFFER) {
    std::vector<float> z;
    for (uint64_t i = 0; i < table * directions; ++i)
      z.push_back(static_cast<float>(cos(static_cast<double>(i * i % 1009))));
    one.set_noise(std::move(z), table);
  }
  return one;
}

// The sides of W+ and W-, or the first `count` of them.
inline void set_sides(contract::PrepareCommand& command, uint8_t* plus, uint8_t* minus, float eps, uint32_t count = 2) {
  command.sides[0] = {plus, eps};
  command.sides[1] = {minus, -eps};
  command.side_count = count;
  command.draws = count != 0 && eps != 0;
}

// Prepares element `element` of a segment, whose canonical index is `index`. Returns the sticky flags.
inline uint32_t reference_element(const contract::PrepareCommand& command, const zo2_segment& segment, uint64_t element,
                                  uint64_t index) {
  unsigned char* const wire = command.wire + segment.wire_offset + element * dtype_bytes(segment.wire_dtype);
  const bool frozen = (segment.flags & ZO2_SEGMENT_FROZEN) != 0;
  uint32_t flags = 0;
  float w = read_as(segment.wire_dtype, wire);
  for (const contract::PendingUpdate& update : command.updates) {
    bool finite = true;
    for (uint32_t d = 0; d < update.directions; ++d) finite = finite && isfinite(update.coefficients[d].value);
    if (!finite) flags |= ZO2_STICKY_NOT_FINITE;
    if (frozen) continue;
    const bool decay = (segment.flags & ZO2_SEGMENT_DECAY) != 0;
    float u = (decay ? static_cast<float>(update.learning_rate * update.weight_decay) : 0.0f) * w;
    for (uint32_t d = 0; d < update.directions; ++d) {
      const double g = finite ? static_cast<double>(update.coefficients[d].value) : 0.0;
      const float a = static_cast<float>(update.learning_rate * g / update.directions);
      const float* const table = update.z == nullptr ? nullptr : update.z + d * (update.z_stride / sizeof(float));
      u = fmaf(a, noise_of(update, d, table, segment, index), u);
    }
    const float next = rounded(segment.wire_dtype, command.rounding, w - u, update.seed, update.step, index);
    if (isfinite(next)) {
      w = next;
    } else {
      flags |= ZO2_STICKY_OVERFLOW;
    }
  }
  if (command.store && !frozen && !command.updates.empty()) write_as(segment.wire_dtype, w, wire);
  bool draws = false;
  for (uint32_t k = 0; k < command.side_count; ++k) draws = draws || command.sides[k].eps != 0;
  const bool plain = frozen || !draws;
  const uint64_t at = segment.scratch_offset + element * dtype_bytes(segment.scratch_dtype);
  const float z = plain ? 0.0f : noise_of(command, command.direction, command.z, segment, index);
  for (uint32_t k = 0; k < command.side_count; ++k) {
    const contract::PrepareSide& side = command.sides[k];
    write_as(segment.scratch_dtype, plain ? w : fmaf(side.eps, z, w), side.scratch + at);
  }
  return flags;
}

}  // namespace zo2::test
