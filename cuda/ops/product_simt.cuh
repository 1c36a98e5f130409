// Products of tiles in exact fp32, by fused multiply-adds in the order of the depth.
#pragma once

#include "cuda/ops/walk.cuh"

namespace zo2::cuda {

// The depth runs down, so that a thread reads four neighbouring rows of the operand at once.
template <int kTileRows>
struct TransposedLayout {
  static constexpr int kRows = kTileRows;
  // Padded: writes of one chunk number by eight rows then meet those of the next in other banks; a multiple of 4 for
  // vector reads.
  static constexpr int kPitch = kTileRows + 4;
  struct Tile {
    alignas(16) float values[kTileDepth<ZO2_F32>][kPitch];
  };

  __device__ static void put(Tile& tile, int row, int chunk, uint4 value) {
    tile.values[chunk * 4 + 0][row] = __uint_as_float(value.x);
    tile.values[chunk * 4 + 1][row] = __uint_as_float(value.y);
    tile.values[chunk * 4 + 2][row] = __uint_as_float(value.z);
    tile.values[chunk * 4 + 3][row] = __uint_as_float(value.w);
  }
};

// kTile x kTile by 16 x 16 threads, each with kTile / 64 groups of 4 neighbouring rows and as many of 4 columns, 64
// apart.
template <int kTile>
class SimtProduct {
 public:
  static constexpr zo2_dtype kType = ZO2_F32;
  static constexpr int kTileM = kTile, kTileN = kTile, kStages = 2, kThreads = 256, kResident = 2;
  static constexpr int kSumRows = kTile;
  static constexpr int kRows = kTile / 16, kColumns = kTile / 16, kLanesPerRow = 16, kColumnGroups = 1;

  using Layout = TransposedLayout<kTile>;
  using XLoader = TileLoader<kType, Fetch::kRegisters, Layout, kThreads>;
  using WeightLoader = XLoader;
  struct Stage {
    typename Layout::Tile x, weight;
  };

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kRows; i++) {
#pragma unroll
      for (int j = 0; j < kColumns; j++) sums_[i][j] = 0.0f;
    }
  }

  __device__ void multiply(const Stage& stage) {
#pragma unroll
    for (int k = 0; k < kTileDepth<kType>; k++) {
      float a[kRows], b[kColumns];
#pragma unroll
      for (int i = 0; i < kRows; i += 4) read_four(a + i, &stage.x.values[k][row(i)]);
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) read_four(b + j, &stage.weight.values[k][column(j)]);
#pragma unroll
      for (int i = 0; i < kRows; i++) {
#pragma unroll
        for (int j = 0; j < kColumns; j++) sums_[i][j] = fmaf(a[i], b[j], sums_[i][j]);
      }
    }
  }

  // As in MmaProduct.
  __device__ static int row(int i) { return i / 4 * 64 + static_cast<int>(threadIdx.x) / 16 * 4 + i % 4; }
  __device__ static int column(int j) { return j / 4 * 64 + static_cast<int>(threadIdx.x) % 16 * 4 + j % 4; }
  __device__ float sum(int i, int j) const { return sums_[i][j]; }
  __device__ static int column_group() { return 0; }

  __device__ void store(float* tile, int pitch, int) const {
#pragma unroll
    for (int i = 0; i < kRows; i++) {
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        *reinterpret_cast<float4*>(tile + row(i) * pitch + column(j)) =
            make_float4(sum(i, j), sum(i, j + 1), sum(i, j + 2), sum(i, j + 3));
      }
    }
  }

 private:
  __device__ static void read_four(float* to, const float* from) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }

  float sums_[kRows][kColumns];
};

}  // namespace zo2::cuda
