// Noise by coordinates, for any range of canonical indices.
#pragma once

#include <stdint.h>

#include "contract/zo2.h"
#include "cpu/ops/tile.h"

namespace zo2::cpu {

// Writes z of the elements first .. first + count - 1 to `out` (fp32). Element i depends on (kind, seed, step,
// direction, i) alone, so any split of a range gives the same bits. `kind` is GAUSSIAN or RADEMACHER; other kinds have
// no formula and write nothing. `direction` is below 2^24. `generic` forces the portable kernels (same bits).
void fill_noise(float* out, uint64_t first, uint64_t count, zo2_noise_kind kind, uint64_t seed, uint32_t step,
                uint32_t direction, bool generic = false);

// The rows of a segment in their matrix; a vector has none.
struct Matrix {
  uint64_t canonical;  // of its first element
  uint64_t width;      // elements in a row; 0: a vector
};

// Where prepare finds one direction's noise.
struct NoiseSource {
  zo2_noise_kind kind;
  uint64_t seed;
  uint32_t step;
  uint32_t direction;
  const float* z;            // BUFFER: the value of canonical index i is z[i]
  uint32_t rank = 0;         // LOW_RANK
  uint32_t column_step = 0;  // LOW_RANK
  Matrix matrix = {};        // LOW_RANK: what the elements belong to
};

// z of one tile: n elements from `first`, both multiples of kGrain. From a buffer, and of low rank, only [begin, end)
// has noise, the rest is 0.
void fill_noise_tile(const TileKernels& kernels, const NoiseSource& source, uint64_t first, uint32_t n, uint32_t begin,
                     uint32_t end, float* z);

}  // namespace zo2::cpu
