// The kernel behind every linear but Hopper's: one block per tile of out.
#pragma once

#include "cuda/ops/epilogue.cuh"
#include "cuda/ops/walk.cuh"

namespace zo2::cuda {

constexpr int64_t kMostBlocks = 0x7fffffff;

// Tiles in groups of kGroup rows of tiles, down the rows first: blocks that run at the same time share tiles of both
// operands in the L2 cache.
struct TileOrder {
  static constexpr int64_t kGroup = 8;
  int64_t down, across;

  __host__ __device__ int64_t count() const { return down * across; }
  __device__ void find(int64_t number, int64_t& row, int64_t& column) const {
    const int64_t first = number / (kGroup * across) * kGroup, within = number % (kGroup * across);
    const int64_t height = down - first < kGroup ? down - first : kGroup;
    row = first + within % height;
    column = within / height;
  }
};

template <class Product>
struct LinearShared {
  // 8 more floats than a row has: the rows that a warp writes at once lie in different banks.
  static constexpr int kPitch = Product::kTileN + 8;
  union {
    typename Product::Stage stages[Product::kStages];
    float sums[Product::kSumRows * kPitch];
  };
};

template <class Product>
__global__ void __launch_bounds__(Product::kThreads, Product::kResident)
    linear_kernel(const uint32_t* poison, LinearArgs args, TileOrder order) {
  if (*poison != 0) return;
  using Shared = LinearShared<Product>;
  ZO2_SHARED_DYNAMIC(Shared, shared);
  int64_t down, across;
  order.find(blockIdx.x, down, across);
  const int64_t row = down * Product::kTileM, column = across * Product::kTileN;
  Product product;
  walk(product, shared->stages, args.x, row, args.weight, column, 1, [&](int64_t) {
#pragma unroll 1
    for (int first = 0; first < Product::kTileM; first += Product::kSumRows) {
      __syncthreads();
      product.store(shared->sums, Shared::kPitch, first);
      __syncthreads();
      finish_tile(args, row + first, column, Product::kSumRows, Product::kTileN, shared->sums, Shared::kPitch,
                  static_cast<int>(threadIdx.x), Product::kThreads);
    }
  });
}

template <class Product>
cudaError_t launch_linear_product(const Launch& launch, const LinearArgs& args) {
  const TileOrder order{(args.out.rows + Product::kTileM - 1) / Product::kTileM,
                        (args.out.cols + Product::kTileN - 1) / Product::kTileN};
  if (order.count() == 0) return cudaSuccess;
  if (order.count() > kMostBlocks) return cudaErrorInvalidConfiguration;
  return ZO2_LAUNCH(linear_kernel<Product>, dim3(static_cast<unsigned>(order.count())), dim3(Product::kThreads),
                    sizeof(LinearShared<Product>), launch.stream, launch.poison(), args, order);
}

}  // namespace zo2::cuda
