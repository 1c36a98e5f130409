// Up to four launches: the targets' logits, one product each (few beside the logits); the pairs (maximum, sum of
// exponentials) of every row over each split of the vocabulary, from logits that exist only as sums in registers (on
// Hopper by cross_entropy_sm90.cu); their ordered merge into the state; on the last tile, the log-probabilities.
#include "cuda/ops/cross_entropy.cuh"

#include <algorithm>

#include "cuda/ops/cross_entropy_sm90.cuh"
#include "cuda/ops/product_mma.cuh"
#include "cuda/ops/product_simt.cuh"
#include "cuda/ops/softmax_pair.cuh"

namespace zo2::cuda {

namespace {

using contract::kIgnored;

constexpr int64_t kMostBlocks = 0x7fffffff;
// rows of tiles that a multiprocessor works on at once: 2 blocks of 128 or 4 of 64
constexpr int64_t kRowsInFlight = 256;
constexpr int64_t kSmallTile = 64;  // the smaller of the two that kernels come in
constexpr int kSmallThreads = 128;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the work on a tile of the vocabulary is shared: block (row tile, split) walks over tiles_per_split tiles of
// weight rows.
struct Split {
  int64_t row_tiles, splits, tiles_per_split;

  Split(int64_t rows, int64_t vocabulary, int64_t tile, int multiprocessors) {
    row_tiles = ceil_div(rows, tile);
    const int64_t tiles = ceil_div(vocabulary, tile), blocks = multiprocessors * kRowsInFlight / tile;
    const int64_t wanted = std::max<int64_t>(1, std::min(tiles, blocks / std::max<int64_t>(1, row_tiles)));
    tiles_per_split = std::max<int64_t>(1, ceil_div(tiles, wanted));
    splits = ceil_div(tiles, tiles_per_split);
  }
};

template <class Product>
struct SplitShared {
  typename Product::Stage stages[Product::kStages];
  SoftmaxPair groups[Product::kColumnGroups][Product::kTileM];
};

template <class Product>
__global__ void __launch_bounds__(Product::kThreads, Product::kResident)
    split_kernel(const uint32_t* poison, Matrix x, Matrix weight, int64_t row_tiles, int64_t tiles_per_split,
                 SoftmaxPair* pairs) {
  if (*poison != 0) return;
  using Shared = SplitShared<Product>;
  ZO2_SHARED_DYNAMIC(Shared, shared);
  // Neighbouring blocks read the same weight rows.
  const int64_t row = blockIdx.x % row_tiles * Product::kTileM, split = blockIdx.x / row_tiles;
  const int64_t all = (weight.rows + Product::kTileN - 1) / Product::kTileN, first = split * tiles_per_split;
  const int64_t tiles = all - first < tiles_per_split ? all - first : tiles_per_split;

  // Of this thread's columns alone; the lanes and warps that share a row are merged once, at the end.
  SoftmaxPair mine[Product::kRows];
#pragma unroll
  for (int i = 0; i < Product::kRows; i++) mine[i] = no_logits();
  Product product;
  walk(product, shared->stages, x, row, weight, first * Product::kTileN, tiles, [&](int64_t tile) {
    const int64_t entries = weight.rows - (first + tile) * Product::kTileN;
    // Counted from this thread's first column, so that tests compare with constants.
    const int left = (entries < Product::kTileN ? static_cast<int>(entries) : Product::kTileN) - Product::column(0);
#pragma unroll
    for (int i = 0; i < Product::kRows; i++) {
      float maximum = mine[i].maximum;
#pragma unroll
      for (int j = 0; j < Product::kColumns; j++) {
        if (Product::column(j) - Product::column(0) < left) maximum = fmaxf(maximum, product.sum(i, j));
      }
      const float shift = shift_of(maximum);
      float sum = mine[i].sum * rescaling(mine[i].maximum, maximum);
#pragma unroll
      for (int j = 0; j < Product::kColumns; j++) {
        if (Product::column(j) - Product::column(0) < left) sum += expf(product.sum(i, j) - shift);
      }
      mine[i] = {maximum, sum};
    }
  });

#pragma unroll
  for (int i = 0; i < Product::kRows; i++) {
#pragma unroll
    for (int distance = 1; distance < Product::kLanesPerRow; distance *= 2) {
      const SoftmaxPair other = {__shfl_xor_sync(0xffffffffu, mine[i].maximum, distance),
                                 __shfl_xor_sync(0xffffffffu, mine[i].sum, distance)};
      mine[i] = merge(mine[i], other);
    }
    if (threadIdx.x % Product::kLanesPerRow == 0) shared->groups[Product::column_group()][Product::row(i)] = mine[i];
  }
  __syncthreads();
  const int r = static_cast<int>(threadIdx.x);
  if (r < Product::kTileM && row + r < x.rows) {
    SoftmaxPair total = shared->groups[0][r];
    for (int g = 1; g < Product::kColumnGroups; g++) {
      const SoftmaxPair group = shared->groups[g][r];
      total = merge(total, group);
    }
    pairs[split * x.rows + row + r] = total;
  }
}

__global__ void __launch_bounds__(kSmallThreads)
    merge_kernel(const uint32_t* poison, Matrix state, int64_t splits, const SoftmaxPair* pairs, bool first_tile) {
  if (*poison != 0) return;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kSmallThreads + threadIdx.x;
  if (row >= state.rows) return;
  SoftmaxPair total = first_tile ? no_logits() : SoftmaxPair{load_element(state, row, 0), load_element(state, row, 1)};
  for (int64_t s = 0; s < splits; s++) {
    const SoftmaxPair pair = pairs[s * state.rows + row];
    total = merge(total, pair);
  }
  store_element(state, row, 0, total.maximum);
  store_element(state, row, 1, total.sum);
}

// A value as the product kernels take it: x in the weight's dtype, fp32 in tf32 where tensor cores do fp32.
__device__ inline float as_operand(float v, zo2_dtype type, bool tf32) {
  if (type != ZO2_F32) return widen_bits(narrow_bits(v, type), type);
  return tf32 ? __uint_as_float(to_tf32(v)) : v;
}

// One warp per target.
__global__ void __launch_bounds__(kSmallThreads)
    target_kernel(const uint32_t* poison, Matrix logprob, Matrix x, Matrix weight, Matrix targets, int64_t vocab_start,
                  bool first_tile, bool tf32) {
  if (*poison != 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * (kSmallThreads / 32) + threadIdx.x / 32;
  if (t >= targets.rows) return;
  const int32_t* target = reinterpret_cast<const int32_t*>(element_address(targets, t, 0));
  const int64_t entry = target[1] - vocab_start;
  float logit = NAN;
  const bool here = target[1] != kIgnored && entry >= 0 && entry < weight.rows;
  if (here) {
    const bool x_fours = fours_aligned(x), weight_fours = fours_aligned(weight);
    logit = 0.0f;
    for (int64_t k = lane * 4; k < x.cols; k += 32 * 4) {
      const int count = x.cols - k < 4 ? static_cast<int>(x.cols - k) : 4;
      const float4 a = load_clipped(x, target[0], k, count, x_fours),
                   b = load_clipped(weight, entry, k, count, weight_fours);
      logit = fmaf(as_operand(a.x, weight.dtype, tf32), as_operand(b.x, weight.dtype, tf32), logit);
      logit = fmaf(as_operand(a.y, weight.dtype, tf32), as_operand(b.y, weight.dtype, tf32), logit);
      logit = fmaf(as_operand(a.z, weight.dtype, tf32), as_operand(b.z, weight.dtype, tf32), logit);
      logit = fmaf(as_operand(a.w, weight.dtype, tf32), as_operand(b.w, weight.dtype, tf32), logit);
    }
    for (int distance = 1; distance < 32; distance *= 2) logit += __shfl_xor_sync(0xffffffffu, logit, distance);
  }
  if (lane == 0 && (here || first_tile)) store_element(logprob, t, 0, target[1] == kIgnored ? 0.0f : logit);
}

__global__ void __launch_bounds__(kSmallThreads)
    finish_kernel(const uint32_t* poison, Matrix logprob, Matrix state, Matrix targets) {
  if (*poison != 0) return;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kSmallThreads + threadIdx.x;
  if (t >= targets.rows) return;
  const int32_t* target = reinterpret_cast<const int32_t*>(element_address(targets, t, 0));
  if (target[1] == kIgnored) return;
  // In fp64: logit and maximum are large beside their difference.
  const double logit = load_element(logprob, t, 0), maximum = load_element(state, target[0], 0),
               sum = load_element(state, target[0], 1);
  store_element(logprob, t, 0, static_cast<float>(logit - maximum - log(sum)));
}

bool on_tensor_cores(const Launch& launch, const CrossEntropyArgs& args) {
  return args.weight.dtype != ZO2_F32 || launch.traits->tf32;
}

template <class Product>
cudaError_t launch_split(const Launch& launch, const CrossEntropyArgs& args, int64_t* splits) {
  static_assert(Product::kTileM == Product::kTileN, "Split counts square tiles");
  const Split split(args.x.rows, args.weight.rows, Product::kTileM, launch.traits->multiprocessors);
  const int64_t blocks = split.row_tiles * split.splits;
  if (static_cast<size_t>(split.splits * args.x.rows) * sizeof(SoftmaxPair) > args.scratch_bytes)
    return cudaErrorInvalidValue;
  if (blocks > kMostBlocks) return cudaErrorInvalidConfiguration;
  *splits = split.splits;
  return ZO2_LAUNCH(split_kernel<Product>, dim3(static_cast<unsigned>(blocks)), dim3(Product::kThreads),
                    sizeof(SplitShared<Product>), launch.stream, launch.poison(), args.x, args.weight, split.row_tiles,
                    split.tiles_per_split, static_cast<SoftmaxPair*>(args.scratch));
}

template <zo2_dtype kType>
cudaError_t launch_split_mma(const Launch& launch, const CrossEntropyArgs& args, int64_t* splits) {
  constexpr Fetch kAsync = Fetch::kAsync, kRegisters = Fetch::kRegisters;
  const bool small = args.x.rows <= kSmallTile;
  if (!fetches_async(args.weight, kType))
    return launch_split<MmaProduct<kType, Mma64x64, kRegisters, kRegisters>>(launch, args, splits);
  if (!fetches_async(args.x, kType)) {
    return small ? launch_split<MmaProduct<kType, Mma64x64, kRegisters, kAsync>>(launch, args, splits)
                 : launch_split<MmaProduct<kType, Mma128x128, kRegisters, kAsync>>(launch, args, splits);
  }
  return small ? launch_split<MmaProduct<kType, Mma64x64, kAsync, kAsync>>(launch, args, splits)
               : launch_split<MmaProduct<kType, Mma128x128, kAsync, kAsync>>(launch, args, splits);
}

cudaError_t launch_splits(const Launch& launch, const CrossEntropyArgs& args, int64_t* splits) {
  if (!on_tensor_cores(launch, args)) {
    return args.x.rows <= kSmallTile ? launch_split<SimtProduct<64>>(launch, args, splits)
                                     : launch_split<SimtProduct<128>>(launch, args, splits);
  }
  if (cross_entropy_sm90_accepts(launch, args)) return launch_cross_entropy_sm90(launch, args, splits);
  switch (args.weight.dtype) {
    case ZO2_F16:
      return launch_split_mma<ZO2_F16>(launch, args, splits);
    case ZO2_BF16:
      return launch_split_mma<ZO2_BF16>(launch, args, splits);
    default:
      return launch_split_mma<ZO2_F32>(launch, args, splits);
  }
}

}  // namespace

// Splits are at most as many as blocks in flight allow for the row tiles, or 1; so rows x splits is at most the rows in
// flight, or rows.
size_t cross_entropy_scratch_bytes(int64_t rows, int64_t vocabulary, const Traits& traits) {
  const int64_t pairs = std::max(rows, traits.multiprocessors * kRowsInFlight);
  return static_cast<size_t>(std::min(pairs, rows * ceil_div(vocabulary, kSmallTile))) * sizeof(SoftmaxPair);
}

cudaError_t launch_cross_entropy(const Launch& launch, const CrossEntropyArgs& args) {
  const bool first = (args.tile_flags & ZO2_TILE_FIRST) != 0, last = (args.tile_flags & ZO2_TILE_LAST) != 0;
  const int64_t target_blocks = ceil_div(args.targets.rows, kSmallThreads / 32),
                row_blocks = ceil_div(args.x.rows, kSmallThreads);
  if (target_blocks > kMostBlocks || row_blocks > kMostBlocks) return cudaErrorInvalidConfiguration;
  cudaError_t status = cudaSuccess;
  if (target_blocks > 0) {
    const bool tf32 = args.weight.dtype == ZO2_F32 && launch.traits->tf32;
    status =
        ZO2_LAUNCH(target_kernel, dim3(static_cast<unsigned>(target_blocks)), dim3(kSmallThreads), 0, launch.stream,
                   launch.poison(), args.logprob, args.x, args.weight, args.targets, args.vocab_start, first, tf32);
    if (status != cudaSuccess) return status;
  }
  if (row_blocks > 0) {
    int64_t splits = 0;
    if (args.weight.rows > 0) status = launch_splits(launch, args, &splits);
    if (status != cudaSuccess) return status;
    status = ZO2_LAUNCH(merge_kernel, dim3(static_cast<unsigned>(row_blocks)), dim3(kSmallThreads), 0, launch.stream,
                        launch.poison(), args.state, splits, static_cast<const SoftmaxPair*>(args.scratch), first);
    if (status != cudaSuccess) return status;
  }
  if (last && target_blocks > 0) {
    status = ZO2_LAUNCH(finish_kernel, dim3(static_cast<unsigned>(ceil_div(args.targets.rows, kSmallThreads))),
                        dim3(kSmallThreads), 0, launch.stream, launch.poison(), args.logprob, args.state, args.targets);
  }
  return status;
}

}  // namespace zo2::cuda
