// A block keeps one tile of rows and walks over the tiles of a split of the vocabulary (product_sm90.cuh). A thread
// folds its part of each tile of logits, as the tensor cores leave it in registers, into two pairs (maximum, sum of
// exponentials), one for each of its rows; the four lanes that share a row merge theirs once, at the end.
#include "cuda/ops/cross_entropy_sm90.cuh"

#include <algorithm>

#include "cuda/instructions/exp2.h"
#include "cuda/ops/product_sm90.cuh"
#include "cuda/ops/softmax_pair.cuh"

namespace zo2::cuda {
namespace {

using sm90::kTileM;

constexpr int64_t kMostBlocks = 0x7fffffff;
// Up to so many rows, half of every tile is empty: the twin has tiles of 64 rows.
constexpr int64_t kTooFewRows = 64;

// Logits of columns from `left` on are of no entry. sums: as in wgmma.h.
template <int kCount>
__device__ __forceinline__ void hide_columns(float (&sums)[kCount], int left) {
  const int own = left - static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i / 4 * 8 + i % 2 >= own) sums[i] = -INFINITY;
  }
}

// `pair` with the logits of one of a thread's two rows.
template <int kRow, int kCount>
__device__ __forceinline__ SoftmaxPair add_logits(SoftmaxPair pair, const float (&sums)[kCount]) {
  constexpr float kLog2E = 1.44269504f;
  float maximum = pair.maximum;
#pragma unroll
  for (int i = 2 * kRow; i < kCount; i += 4) maximum = fmaxf(maximum, fmaxf(sums[i], sums[i + 1]));
  const float shift = shift_of(maximum);
  float sum = pair.sum * rescaling(pair.maximum, maximum);
#pragma unroll
  for (int i = 2 * kRow; i < kCount; i += 4) {
    // Scaled behind the difference, which is small where it counts.
    sum += exp2_fast((sums[i] - shift) * kLog2E);
    sum += exp2_fast((sums[i + 1] - shift) * kLog2E);
  }
  return {maximum, sum};
}

template <typename T, int kTileN>
__global__ void __launch_bounds__(sm90::kThreads, 1)
    cross_entropy_sm90_kernel(const uint32_t* poison, const __grid_constant__ CUtensorMap x_map,
                              const __grid_constant__ CUtensorMap weight_map, int steps, int64_t rows,
                              int64_t vocabulary, int64_t row_tiles, int64_t tiles_per_split, SoftmaxPair* pairs) {
#if ZO2_SM90A
  if (*poison != 0) return;
  using Slots = sm90::Ring<kTileN>;
  ZO2_SHARED_DYNAMIC(Slots, ring);
  ZO2_SHARED_STATIC(sm90::Barriers<kTileN>, barriers);
  // Neighbouring blocks read the same weight rows.
  const int64_t row_tile = blockIdx.x % row_tiles, split = blockIdx.x / row_tiles;
  const int64_t all = (vocabulary + kTileN - 1) / kTileN, first = split * tiles_per_split;
  const int64_t end = all - first < tiles_per_split ? all : first + tiles_per_split;
  const auto each_tile = [&](const auto& visit) {
    for (int64_t n = first; n < end; ++n) visit(Tile{row_tile, n});
  };
  SoftmaxPair upper = no_logits(), lower = no_logits();  // of rows lane / 4 and lane / 4 + 8 of the warp's
  const auto finish = [&](const Tile& tile, float (&sums)[kTileN / 2]) {
    const int64_t left = vocabulary - tile.n * kTileN;
    if (left < kTileN) hide_columns(sums, static_cast<int>(left));
    upper = add_logits<0>(upper, sums);
    lower = add_logits<1>(lower, sums);
  };
  sm90::multiply_tiles<T>(*ring, barriers, x_map, weight_map, steps, each_tile, finish);

  const int warp = sm90::consumer_warp(), lane = static_cast<int>(threadIdx.x) % 32;
  if (warp < 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    SoftmaxPair mine = half == 0 ? upper : lower;
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2) {
      const SoftmaxPair other = {__shfl_xor_sync(0xffffffffu, mine.maximum, distance),
                                 __shfl_xor_sync(0xffffffffu, mine.sum, distance)};
      mine = merge(mine, other);
    }
    const int64_t row = row_tile * kTileM + warp * sm90::kWarpRows + half * 8 + lane / 4;
    if (lane % 4 == 0 && row < rows) pairs[split * rows + row] = mine;
  }
#endif
}

// How the tiles of the vocabulary are shared among blocks: `splits` of tiles_per_split each, the last one fewer.
struct Split {
  int tile_n;
  int64_t row_tiles, tiles_per_split, splits;
};

// The split that takes the fewest rounds of blocks times tiles, in units in which a wide tile costs a little less than
// two narrow ones; of equal ones the first, with the fewest splits. As many splits at most as scratch has room for.
Split choose_split(const CrossEntropyArgs& args, const Traits& traits) {
  const int64_t rows = args.x.rows, vocabulary = args.weight.rows, row_tiles = sm90::ceil_div(rows, kTileM);
  const int64_t room =
      static_cast<int64_t>(cross_entropy_scratch_bytes(rows, vocabulary, traits) / sizeof(SoftmaxPair)) / rows;
  Split best{};
  int64_t least = INT64_MAX;
  for (const int tile_n : {256, 128}) {
    if (tile_n == 256 && vocabulary <= 128) continue;
    const int64_t tiles = sm90::ceil_div(vocabulary, tile_n);
    for (int64_t wanted = 1; wanted <= std::min(tiles, room); ++wanted) {
      const int64_t per_split = sm90::ceil_div(tiles, wanted), splits = sm90::ceil_div(tiles, per_split);
      const int64_t rounds = sm90::ceil_div(row_tiles * splits, traits.multiprocessors);
      const int64_t cost = rounds * per_split * (tile_n == 256 ? 20 : 11);
      if (cost >= least) continue;
      least = cost;
      best = {tile_n, row_tiles, per_split, splits};
    }
  }
  return best;
}

template <typename T, int kTileN>
cudaError_t launch(const Launch& at, const CrossEntropyArgs& args, const Split& split) {
  sm90::Maps maps;
  const cudaError_t status = sm90::describe(&maps, args.x, args.weight, kTileN);
  if (status != cudaSuccess) return status;
  return ZO2_LAUNCH((cross_entropy_sm90_kernel<T, kTileN>), dim3(static_cast<unsigned>(split.row_tiles * split.splits)),
                    dim3(sm90::kThreads), sizeof(sm90::Ring<kTileN>), at.stream, at.poison(), maps.x, maps.weight,
                    sm90::steps_of(args.x), args.x.rows, args.weight.rows, split.row_tiles, split.tiles_per_split,
                    static_cast<SoftmaxPair*>(args.scratch));
}

template <typename T>
cudaError_t launch_typed(const Launch& at, const CrossEntropyArgs& args, const Split& split) {
  return split.tile_n == 256 ? launch<T, 256>(at, args, split) : launch<T, 128>(at, args, split);
}

}  // namespace

bool cross_entropy_sm90_accepts(const Launch& launch, const CrossEntropyArgs& args) {
  const size_t shared = std::max(sizeof(sm90::Ring<256>), sizeof(sm90::Ring<128>));
  if (args.x.rows <= kTooFewRows || !sm90::multiplies(*launch.traits, args.x, args.weight, shared)) return false;
  // Fewer tiles leave most of the device idle.
  const int64_t tiles = sm90::ceil_div(args.x.rows, kTileM) * sm90::ceil_div(args.weight.rows, 128);
  return tiles * 2 >= launch.traits->multiprocessors && sm90::body_exists<cross_entropy_sm90_kernel<BF16, 256>, 256>();
}

cudaError_t launch_cross_entropy_sm90(const Launch& launch, const CrossEntropyArgs& args, int64_t* splits) {
  const Split split = choose_split(args, *launch.traits);
  if (static_cast<size_t>(split.splits * args.x.rows) * sizeof(SoftmaxPair) > args.scratch_bytes)
    return cudaErrorInvalidValue;
  if (split.row_tiles * split.splits > kMostBlocks) return cudaErrorInvalidConfiguration;
  *splits = split.splits;
  return args.x.dtype == ZO2_F16 ? launch_typed<F16>(launch, args, split) : launch_typed<BF16>(launch, args, split);
}

}  // namespace zo2::cuda
