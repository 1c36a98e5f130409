// The end of every matrix product: scale, bias, activation, residual and storage of a tile of sums.
#pragma once

#include "cuda/ops/activation.cuh"
#include "cuda/ops/linear.cuh"

namespace zo2::cuda {

// Finishes rows `row` .. `row + rows` and columns `col` .. `col + cols` of the product, clipped to out. The fp32 sums
// lie in shared memory, `pitch` floats from row to row (a multiple of 4; `tile` at a multiple of 16 bytes), and all of
// them are visible to all `threads` threads, which call this together as numbers 0 .. threads - 1. `col` is a multiple
// of 4. Each element of residual is read by the thread that then writes the same element of out, so the two may be one
// matrix.
__device__ inline void finish_tile(const LinearArgs& args, int64_t row, int64_t col, int rows, int cols,
                                   const float* tile, int pitch, int thread, int threads) {
  const bool bias_fours = fours_aligned(args.bias), residual_fours = fours_aligned(args.residual),
             out_fours = fours_aligned(args.out);
  const int fours = cols / 4;
#pragma unroll 1
  for (int i = thread; i < rows * fours; i += threads) {
    const int r = i / fours, c = i % fours * 4;
    const int64_t out_row = row + r, out_col = col + c;
    if (out_row >= args.out.rows || out_col >= args.out.cols) continue;
    const int64_t left = args.out.cols - out_col;
    const int count = left < 4 ? static_cast<int>(left) : 4;
    float4 v = *reinterpret_cast<const float4*>(tile + r * pitch + c);
    v = make_float4(args.scale * v.x, args.scale * v.y, args.scale * v.z, args.scale * v.w);
    if (args.bias.present()) v = add_four(v, load_clipped(args.bias, 0, out_col, count, bias_fours));
    float4 before = make_float4(-0.0f, -0.0f, -0.0f, -0.0f);  // changes no sum
    if (args.residual.present()) before = load_clipped(args.residual, out_row, out_col, count, residual_fours);
    if (args.inner) v = add_four(v, before);
    v = make_float4(activate(args.activation, v.x), activate(args.activation, v.y), activate(args.activation, v.z),
                    activate(args.activation, v.w));
    if (!args.inner) v = add_four(v, before);
    store_clipped(args.out, out_row, out_col, count, out_fours, v);
  }
}

}  // namespace zo2::cuda
