// One block per multiprocessor walks over output tiles (product_sm90.cuh), and its consumers store them.
#include "cuda/ops/linear_sm90.cuh"

#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/ops/epilogue.cuh"
#include "cuda/ops/linear_sm90_store.cuh"
#include "cuda/ops/product_sm90.cuh"

namespace zo2::cuda {
namespace {

using sm90::kTileM;

constexpr int kStagedRows = 16;
[[maybe_unused]] constexpr int kStagedCols = 32;
constexpr int kStagedPitch = 40;

template <int kTileN>
struct Shared {
  sm90::Ring<kTileN> ring;
  // Sums of one warp at a time on their way to finish_tile. The pitch lets a half-warp store its pairs into 32
  // different banks.
  alignas(16) float staged[sm90::kConsumerWarps][kStagedRows * kStagedPitch];
};

// The type of an element whose products wgmma names T.
template <typename T>
struct StorageOf;
template <>
struct StorageOf<F16> {
  using Type = __half;
};
template <>
struct StorageOf<BF16> {
  using Type = __nv_bfloat16;
};
template <typename T>
using Storage = typename StorageOf<T>::Type;

// A warp's 16 rows of the tile from column `from` on (a multiple of 32), 32 columns at a time, through shared memory.
// finish_tile is large, and stands here once: the loop is rolled, and only the choice of the sums is not.
template <int kCount>
__device__ void store_staged(const LinearArgs& args, int64_t row, int64_t column, int from, const float (&sums)[kCount],
                             float* staged, int lane) {
  float* const mine = staged + lane / 4 * kStagedPitch + lane % 4 * 2;
#pragma unroll 1
  for (int first = from; first < kCount * 2 && column + first < args.out.cols; first += kStagedCols) {
#pragma unroll
    for (int chosen = 0; chosen < kCount * 2; chosen += kStagedCols) {
      if (chosen != first) continue;
#pragma unroll
      for (int j = 0; j < kStagedCols / 8; ++j) {
        const float* const four = sums + (chosen / 8 + j) * 4;
        *reinterpret_cast<float2*>(mine + j * 8) = make_float2(four[0], four[1]);
        *reinterpret_cast<float2*>(mine + 8 * kStagedPitch + j * 8) = make_float2(four[2], four[3]);
      }
    }
    __syncwarp();
    finish_tile(args, row, column + first, kStagedRows, kStagedCols, staged, kStagedPitch, lane, 32);
    __syncwarp();
  }
}

// The first columns of the same, by fragments; how many. T: the dtype of out where it goes in chunks.
template <class T, bool kWhole, int kCount>
__device__ int store_fragments(const Sm90Epilogue& args, int64_t row, int64_t column, float (&sums)[kCount],
                               float* staged, int lane) {
  if (args.way == Sm90Store::kPairs) {
    const FragmentStore<float, kCount, kWhole> store(args, row, column, lane);
    store.pairs(sums);
    return store.columns_stored();
  }
  const FragmentStore<T, kCount, kWhole> store(args, row, column, lane);
  static_assert(store.kStagedBytes <= kStagedRows * kStagedPitch * sizeof(float));
  store.chunks(sums, staged);
  return store.columns_stored();
}

// A warp's 16 rows of the tile.
template <class T, int kCount>
__device__ void store_rows(const Sm90Epilogue& args, int64_t row, int64_t column, float (&sums)[kCount], float* staged,
                           int lane) {
  const bool fragments = args.way != Sm90Store::kGeneral;
  if (fragments && row + kStagedRows <= args.out.rows && column + kCount * 2 <= args.out.cols) {
    store_fragments<T, true>(args, row, column, sums, staged, lane);
  } else {
    const int stored = fragments ? store_fragments<T, false>(args, row, column, sums, staged, lane) : 0;
    store_staged(args, row, column, stored, sums, staged, lane);
  }
}

template <typename T, int kTileN>
__global__ void __launch_bounds__(sm90::kThreads, 1)
    linear_sm90_kernel(const uint32_t* poison, const __grid_constant__ CUtensorMap x_map,
                       const __grid_constant__ CUtensorMap weight_map, TileGrid grid, int steps,
                       const __grid_constant__ Sm90Epilogue args) {
#if ZO2_SM90A
  if (*poison != 0) return;
  using Memory = Shared<kTileN>;
  ZO2_SHARED_DYNAMIC(Memory, shared);
  ZO2_SHARED_STATIC(sm90::Barriers<kTileN>, barriers);
  const auto each_tile = [&](const auto& visit) {
    for (int64_t index = blockIdx.x; index < grid.count(); index += gridDim.x) visit(grid.at(index));
  };
  const auto finish = [&](const Tile& tile, float (&sums)[kTileN / 2]) {
    const int warp = sm90::consumer_warp(), lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t row = tile.m * kTileM + warp * kStagedRows;
    const int64_t column = tile.n * kTileN;
    store_rows<Storage<T>>(args, row, column, sums, shared->staged[warp], lane);
  };
  sm90::multiply_tiles<T>(shared->ring, barriers, x_map, weight_map, steps, each_tile, finish);
#endif
}

TileGrid tiles_of(const LinearArgs& args, int tile_n) {
  return {sm90::ceil_div(args.x.rows, kTileM), sm90::ceil_div(args.weight.rows, tile_n)};
}

template <typename T, int kTileN>
cudaError_t launch(const Launch& launch, const LinearArgs& args) {
  sm90::Maps maps;
  const cudaError_t status = sm90::describe(&maps, args.x, args.weight, kTileN);
  if (status != cudaSuccess) return status;

  const TileGrid grid = tiles_of(args, kTileN);
  const int64_t blocks = std::min<int64_t>(grid.count(), launch.traits->multiprocessors);
  return ZO2_LAUNCH((linear_sm90_kernel<T, kTileN>), dim3(static_cast<unsigned>(blocks)), dim3(sm90::kThreads),
                    sizeof(Shared<kTileN>), launch.stream, launch.poison(), maps.x, maps.weight, grid,
                    sm90::steps_of(args.x), Sm90Epilogue(args));
}

// The wider tile moves fewer bytes per product, and costs a little more than twice the narrow one less often than it
// leaves a last round of tiles that does not fill the device.
bool prefer_wide(const LinearArgs& args, int64_t multiprocessors) {
  if (args.weight.rows <= 128) return false;
  const int64_t wide_rounds = sm90::ceil_div(tiles_of(args, 256).count(), multiprocessors);
  const int64_t narrow_rounds = sm90::ceil_div(tiles_of(args, 128).count(), multiprocessors);
  return wide_rounds * 20 <= narrow_rounds * 11;
}

template <typename T>
cudaError_t launch_typed(const Launch& at, const LinearArgs& args) {
  return prefer_wide(args, at.traits->multiprocessors) ? launch<T, 256>(at, args) : launch<T, 128>(at, args);
}

}  // namespace

bool linear_sm90_accepts(const Launch& launch, const LinearArgs& args) {
  const size_t shared = std::max(sizeof(Shared<256>), sizeof(Shared<128>));
  if (!sm90::multiplies(*launch.traits, args.x, args.weight, shared)) return false;
  // Fewer tiles leave most of the device idle: the twin has smaller ones.
  return tiles_of(args, 128).count() * 2 >= launch.traits->multiprocessors &&
         sm90::body_exists<linear_sm90_kernel<BF16, 256>, 256>();
}

cudaError_t launch_linear_sm90(const Launch& launch, const LinearArgs& args) {
  return args.x.dtype == ZO2_F16 ? launch_typed<F16>(launch, args) : launch_typed<BF16>(launch, args);
}

}  // namespace zo2::cuda
