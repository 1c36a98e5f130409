// The loop of every matrix product: a block keeps one tile of rows of x and walks over tiles of rows of weight, and for
// each of these over the depth, through a ring of stages in shared memory that does not run dry between tiles.
#pragma once

#include "cuda/ops/fetch.cuh"

namespace zo2::cuda {

// A Product says how a block multiplies, and holds one thread's sums: kType, kTileM, kTileN, kStages, kThreads,
// kResident (blocks that a multiprocessor is to hold, for __launch_bounds__); types Stage (members x and weight, tiles
// in shared memory), XLoader, WeightLoader; clear() and multiply(const Stage&). See product_mma.cuh and
// product_simt.cuh.
//
// For tile 0 .. tiles - 1, leaves in `product` the sums of x rows `row` .. + kTileM times weight rows `column` + tile *
// kTileN .. + kTileN and calls finish(tile). What lies outside the operands counts as 0. All threads of the block call
// this; finish may use barriers, and in the last tile, behind one, the memory of the stages.
template <class Product, class Finish>
__device__ inline void walk(Product& product, typename Product::Stage* stages, const Matrix& x, int64_t row,
                            const Matrix& weight, int64_t column, int64_t tiles, Finish&& finish) {
  constexpr int kStages = Product::kStages, kDepth = kTileDepth<Product::kType>;
  // A depth of 0 is walked as one step of zeros.
  const int64_t depth = x.cols > 0 ? (x.cols + kDepth - 1) / kDepth * kDepth : kDepth;
  const int64_t steps = tiles * (depth / kDepth);
  typename Product::XLoader x_loader(x);
  typename Product::WeightLoader weight_loader(weight);
  x_loader.move_to(row);
  weight_loader.move_to(column);

  int64_t load_depth = 0, load_column = column;
  const auto begin = [&](typename Product::Stage& stage) {
    if (load_depth == depth) {
      load_depth = 0;
      load_column += Product::kTileN;
      weight_loader.move_to(load_column);
    }
    x_loader.begin(stage.x, load_depth);
    weight_loader.begin(stage.weight, load_depth);
    load_depth += kDepth;
  };
  const auto end = [&](typename Product::Stage& stage) {
    x_loader.end(stage.x);
    weight_loader.end(stage.weight);
  };

#pragma unroll
  for (int s = 0; s < kStages - 1; s++) {
    if (s < steps) {
      begin(stages[s]);
      end(stages[s]);
    }
    cp_async_commit();
  }
  product.clear();
  int read = 0, write = kStages - 1;
  int64_t tile = 0, done = 0;
#pragma unroll 1
  for (int64_t step = 0; step < steps; step++) {
    cp_async_wait<kStages - 2>();
    // From here on the stage to read is complete, and that to write, read in the step before, is free.
    __syncthreads();
    const bool more = step + kStages - 1 < steps;
    if (more) begin(stages[write]);
    cp_async_commit();
    product.multiply(stages[read]);
    if (more) end(stages[write]);
    if (++read == kStages) read = 0;
    if (++write == kStages) write = 0;
    done += kDepth;
    if (done == depth) {
      finish(tile++);
      product.clear();
      done = 0;
    }
  }
}

}  // namespace zo2::cuda
