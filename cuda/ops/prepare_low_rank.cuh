// Low-rank noise (numerics/low_rank.h) of eight elements of a matrix that follow each other, wherever they begin.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"
#include "cuda/ops/prepare_group.cuh"
#include "cuda/ops/prepare_noise.cuh"
#include "numerics/low_rank.h"

namespace zo2::cuda::groups {

struct LowRank {
  uint64_t seed;
  uint32_t step;
  uint32_t column_step;
  uint32_t direction;
  uint32_t rank;
};

// The four elements of a Gaussian stream from `index` on, a multiple of 4.
__device__ inline void factor_quad(const numerics::NoiseStream& stream, uint64_t index, float* z) {
  noise::gaussian_quad(numerics::philox_at(stream, index >> 2), z);
}

__device__ inline float factor_at(const numerics::NoiseStream& stream, uint64_t index) {
  float z[4];
  factor_quad(stream, index, z);
  const float low = (index & 1u) != 0 ? z[1] : z[0], high = (index & 1u) != 0 ? z[3] : z[2];
  return (index & 2u) != 0 ? high : low;
}

// z of the elements that exist; of the others, anything.
__device__ inline void low_rank_group(const LowRank& drawn, const zo2_segment& s, const Group& group,
                                      float (&z)[kGroup]) {
  using numerics::factor_index;
  using numerics::noise_stream;
  const numerics::NoiseStream rows = noise_stream(drawn.seed, drawn.step, numerics::kPurposeRowFactor, drawn.direction);
  const numerics::NoiseStream columns =
      noise_stream(drawn.seed, drawn.column_step, numerics::kPurposeColumnFactor, drawn.direction);
  const uint64_t origin = s.canonical - s.first_row * s.row_width;
  const uint64_t first = group.canonical + static_cast<uint64_t>(group.begin) - origin;
  const uint64_t row = first / s.row_width, column = first - row * s.row_width;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) z[i] = 0.0f;

  // Nearly always: eight columns of one row in two quads.
  if (group.whole() && column + kGroup <= s.row_width && (origin + column) % 4 == 0) {
#pragma unroll 1
    for (uint32_t k = 0; k < drawn.rank; ++k) {
      const float u = factor_at(rows, factor_index(origin + row * s.row_width, k));
      float v[kGroup];
      factor_quad(columns, factor_index(origin + column, k), v);
      factor_quad(columns, factor_index(origin + column + 4, k), v + 4);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) z[i] = numerics::f32_fma(u, v[i], z[i]);
    }
    return;
  }
#pragma unroll 1
  for (uint32_t k = 0; k < drawn.rank; ++k) {
    uint64_t at_row = row, at_column = column;
#pragma unroll 1
    for (int i = group.begin; i < group.end; ++i) {
      const float u = factor_at(rows, factor_index(origin + at_row * s.row_width, k));
      const float v = factor_at(columns, factor_index(origin + at_column, k));
#pragma unroll
      for (int j = 0; j < kGroup; ++j) z[j] = i == j ? numerics::f32_fma(u, v, z[j]) : z[j];
      if (++at_column == s.row_width) at_column = 0, ++at_row;
    }
  }
}

}  // namespace zo2::cuda::groups
