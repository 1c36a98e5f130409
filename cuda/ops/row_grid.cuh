// How operations that work element by element share the packs of a matrix among threads: a power of two of threads
// walks along each row.
#pragma once

#include <algorithm>

#include "cuda/ops/pack.cuh"

namespace zo2::cuda {

struct RowGrid {
  static constexpr int kThreads = 256;
  static constexpr int64_t kPacksPerThread = 2;

  dim3 grid;
  int lanes_log2;  // threads of a block that share a row
};

// For a matrix with rows and columns. The grid has no more blocks along y than CUDA allows; threads step over what lies
// beyond.
inline RowGrid row_grid(const Matrix& m) {
  const int64_t packs = packs_of(m.cols);
  int log2 = 0;
  while ((1 << log2) < RowGrid::kThreads && (1 << log2) < packs) log2++;
  const int64_t rows = RowGrid::kThreads >> log2, reach = RowGrid::kPacksPerThread << log2;
  const int64_t across = std::min<int64_t>((packs + reach - 1) / reach, 65535);
  return {dim3(static_cast<unsigned>((m.rows + rows - 1) / rows), static_cast<unsigned>(across)), log2};
}

// The calling thread's row, which may lie behind the last one, and its columns: first, first + step, ... of kPack each.
struct RowLane {
  int64_t row, first, step;

  __device__ explicit RowLane(int lanes_log2) {
    const int thread = static_cast<int>(threadIdx.x), lanes = 1 << lanes_log2;
    row = static_cast<int64_t>(blockIdx.x) * (RowGrid::kThreads >> lanes_log2) + (thread >> lanes_log2);
    first = (static_cast<int64_t>(blockIdx.y) * lanes + (thread & (lanes - 1))) * kPack;
    step = static_cast<int64_t>(gridDim.y) * lanes * kPack;
  }
};

}  // namespace zo2::cuda
