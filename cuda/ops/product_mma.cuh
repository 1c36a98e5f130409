// Products of tiles on tensor cores, by mma.sync: F16 and BF16 as they are, F32 rounded to tf32; sums in fp32.
#pragma once

#include <type_traits>

#include "cuda/instructions/ldmatrix.h"
#include "cuda/instructions/mma.h"
#include "cuda/ops/walk.cuh"

namespace zo2::cuda {

// Tile of a block, the warps it is shared among, and the blocks for which a multiprocessor's registers suffice.
template <int kM, int kN, int kWarpsDown, int kWarpsAcross, int kBlocks>
struct MmaShape {
  static constexpr int kTileM = kM, kTileN = kN, kWarpsM = kWarpsDown, kWarpsN = kWarpsAcross, kResident = kBlocks;
};
using Mma128x128 = MmaShape<128, 128, 2, 4, 2>;
using Mma128x64 = MmaShape<128, 64, 2, 2, 3>;
using Mma64x64 = MmaShape<64, 64, 2, 2, 4>;

// Rows of four chunks. The chunks of a row are permuted such that the eight rows that one matrix of ldmatrix reads at
// the same depth lie in different banks.
template <int kTileRows>
struct SwizzledLayout {
  static constexpr int kRows = kTileRows;
  struct Tile {
    alignas(128) unsigned char bytes[kTileRows * kRowChunks * kChunkBytes];
  };

  __device__ static int offset(int row, int chunk) {
    return row * (kRowChunks * kChunkBytes) + (chunk ^ ((row >> 1) & 3)) * kChunkBytes;
  }
  __device__ static void* place(Tile& tile, int row, int chunk) { return tile.bytes + offset(row, chunk); }
  __device__ static const void* place(const Tile& tile, int row, int chunk) { return tile.bytes + offset(row, chunk); }
  __device__ static void put(Tile& tile, int row, int chunk, uint4 value) {
    *static_cast<uint4*>(place(tile, row, chunk)) = value;
  }
};

// kRing: stages, each of which holds kTileM + kTileN rows of 64 bytes. kRowsStored: rows of sums that are in shared
// memory at a time, so that they need not take more of it than the stages.
template <zo2_dtype kDtype, class Shape, Fetch kFetchX, Fetch kFetchWeight, int kRing = 4,
          int kRowsStored = Shape::kTileM>
class MmaProduct {
 public:
  static constexpr zo2_dtype kType = kDtype;
  static constexpr int kTileM = Shape::kTileM, kTileN = Shape::kTileN, kStages = kRing, kResident = Shape::kResident;
  static constexpr int kSumRows = kRowsStored;
  static constexpr int kThreads = 32 * Shape::kWarpsM * Shape::kWarpsN;
  static constexpr int kWarpM = kTileM / Shape::kWarpsM, kWarpN = kTileN / Shape::kWarpsN;
  // A thread has sums of kRows x kColumns places; a row of the tile belongs to kLanesPerRow neighbouring lanes in each
  // of kColumnGroups warps.
  static constexpr int kRows = kWarpM / 8, kColumns = kWarpN / 4, kLanesPerRow = 4, kColumnGroups = Shape::kWarpsN;

  using XLayout = SwizzledLayout<kTileM>;
  using WeightLayout = SwizzledLayout<kTileN>;
  using XLoader = TileLoader<kType, kFetchX, XLayout, kThreads>;
  using WeightLoader = TileLoader<kType, kFetchWeight, WeightLayout, kThreads>;
  struct Stage {
    typename XLayout::Tile x;
    typename WeightLayout::Tile weight;
  };

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kFragmentsM; i++) {
#pragma unroll
      for (int j = 0; j < kFragmentsN; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sums_[i][j][e] = 0.0f;
      }
    }
  }

  __device__ void multiply(const Stage& stage) {
#pragma unroll
    for (int chunk = 0; chunk < kRowChunks; chunk += 2) {
      uint32_t a[kFragmentsM][4], b[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; i++) {
        ldmatrix_x4(a[i], XLayout::place(stage.x, warp_row() + i * 16 + lane() % 16, chunk + lane() / 16));
        round(a[i]);
      }
#pragma unroll
      for (int j = 0; j < kFragmentsN; j += 2) {
        uint32_t both[4];
        ldmatrix_x4(both, WeightLayout::place(stage.weight, warp_column() + j * 8 + lane() / 16 * 8 + lane() % 8,
                                              chunk + lane() / 8 % 2));
        round(both);
        b[j][0] = both[0], b[j][1] = both[1], b[j + 1][0] = both[2], b[j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < kFragmentsM; i++) {
#pragma unroll
        for (int j = 0; j < kFragmentsN; j++) {
          if constexpr (kType == ZO2_F32) {
            mma_m16n8k8_tf32(sums_[i][j], a[i], b[j]);
          } else {
            mma_m16n8k16(sums_[i][j], a[i], b[j], Operand{});
          }
        }
      }
    }
  }

  // Places of this thread's sums in the tile, and the sums. i and j are constants once the caller's loops are unrolled.
  __device__ static int row(int i) { return warp_row() + i / 2 * 16 + i % 2 * 8 + lane() / 4; }
  __device__ static int column(int j) { return warp_column() + j / 2 * 8 + lane() % 4 * 2 + j % 2; }
  __device__ float sum(int i, int j) const { return sums_[i / 2][j / 2][i % 2 * 2 + j % 2]; }
  __device__ static int column_group() { return warp() % Shape::kWarpsN; }

  // Writes the sums of rows `first` .. `first + kSumRows` to shared memory, `pitch` floats (even) from row to row.
  __device__ void store(float* tile, int pitch, int first) const {
#pragma unroll
    for (int i = 0; i < kRows; i++) {
      const int r = row(i) - first;
      if (kSumRows < kTileM && (r < 0 || r >= kSumRows)) continue;
#pragma unroll
      for (int j = 0; j < kColumns; j += 2) {
        *reinterpret_cast<float2*>(tile + r * pitch + column(j)) = make_float2(sum(i, j), sum(i, j + 1));
      }
    }
  }

 private:
  static constexpr int kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;
  static_assert(kFragmentsM >= 1 && kFragmentsN % 2 == 0, "a warp's tile is of whole fragments, in pairs across");
  using Operand = std::conditional_t<kType == ZO2_BF16, BF16, F16>;

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ static int warp_row() { return warp() / Shape::kWarpsN * kWarpM; }
  __device__ static int warp_column() { return warp() % Shape::kWarpsN * kWarpN; }

  __device__ static void round(uint32_t (&words)[4]) {
    if constexpr (kType == ZO2_F32) {
#pragma unroll
      for (uint32_t& word : words) word = to_tf32(__uint_as_float(word));
    }
  }

  float sums_[kFragmentsM][kFragmentsN][4];
};

}  // namespace zo2::cuda
