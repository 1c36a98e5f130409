#include "cuda/ops/transpose.cuh"

#include "cuda/ops/pack.cuh"

namespace zo2::cuda {
namespace {

// A block turns one square of x. Its threads stand kSide next to each other, so that they read along rows of x and
// write along rows of out; a warp is on one row in either case.
constexpr int kSide = 64, kThreads = 256, kStep = kThreads / kSide;

// One float longer than the square, so that reads down a column fall on different banks.
using Square = float[kSide][kSide + 1];

__global__ void __launch_bounds__(kThreads)
    transpose_kernel(const uint32_t* poison, TransposeArgs args, int64_t squares_across) {
  ZO2_SHARED_STATIC(Square, square);
  if (*poison != 0) return;
  const int64_t first_row = blockIdx.x / squares_across * kSide, first_column = blockIdx.x % squares_across * kSide;
  const int across = static_cast<int>(threadIdx.x) % kSide, down = static_cast<int>(threadIdx.x) / kSide;
  for_dtype(args.x.dtype, [&](auto source) {
    using Source = decltype(source);
    if (first_column + across >= args.x.cols) return;
#pragma unroll
    for (int i = down; i < kSide; i += kStep) {
      if (first_row + i < args.x.rows)
        square[i][across] = widen(*elements<const Source>(args.x, first_row + i, first_column + across));
    }
  });
  __syncthreads();
  for_dtype(args.out.dtype, [&](auto target) {
    using Target = decltype(target);
    if (first_row + across >= args.x.rows) return;
#pragma unroll
    for (int i = down; i < kSide; i += kStep) {
      if (first_column + i < args.x.cols)
        *elements<Target>(args.out, first_column + i, first_row + across) = narrow<Target>(square[across][i]);
    }
  });
}

}  // namespace

cudaError_t launch_transpose(const Launch& launch, const TransposeArgs& args) {
  if (args.x.empty()) return cudaSuccess;
  const int64_t across = (args.x.cols + kSide - 1) / kSide, down = (args.x.rows + kSide - 1) / kSide;
  return ZO2_LAUNCH(transpose_kernel, dim3(static_cast<unsigned>(across * down)), dim3(kThreads), 0, launch.stream,
                    launch.poison(), args, across);
}

}  // namespace zo2::cuda
