// The order in which the persistent blocks of a matrix product take its tiles.
#pragma once

#include <cstdint>

#include "cuda/kernel.h"

namespace zo2::cuda {

struct Tile {
  int64_t m;
  int64_t n;
};

// m x n tiles in groups of kGroupM rows of tiles, down the rows first: so many row tiles in turn share the weight tiles
// that they read while those are in L2.
struct TileGrid {
  static constexpr int64_t kGroupM = 16;

  int64_t m;
  int64_t n;

  __host__ __device__ int64_t count() const { return m * n; }

  __host__ __device__ Tile at(int64_t index) const {
    const int64_t per_group = kGroupM * n;
    const int64_t first = index / per_group * kGroupM;
    const int64_t within = index % per_group;
    const int64_t height = m - first < kGroupM ? m - first : kGroupM;
    return {first + within % height, within / height};
  }
};

}  // namespace zo2::cuda
