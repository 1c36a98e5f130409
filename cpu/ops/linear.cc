#include "cpu/ops/matmul.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
enum { kOut, kX, kWeight, kBias, kResidual };
enum { kActivation, kScale, kInner };
}  // namespace

// A chunk's product lies in a tile of this thread and is finished (scale, bias, activation, residual, storage) while it
// is in the cache. So out may be the residual, and out's dtype does not matter to the product.
void run_linear(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX], &weight = run.views[kWeight];
  const View &bias = run.views[kBias], &residual = run.views[kResidual];
  if (out.empty()) return;
  const LinearEnd end{run.op.real(kScale), static_cast<int>(run.op.integer(kActivation)), run.op.integer(kInner) != 0};
  const ProductSplit split(out.rows, out.cols);
  run.pool.parallel_for(split.chunks(), [&](int64_t number, unsigned) {
    const ProductSplit::Chunk chunk = split.chunk(number);
    const int64_t n = chunk.columns;
    Scratch& scratch = Scratch::mine();
    float* tile = scratch.take(Piece::kTile, chunk.rows * n);
    multiply_tile(run.kernels, submatrix(matrix_of(x), chunk.row, 0), submatrix(matrix_of(weight), chunk.column, 0),
                  chunk.rows, n, x.cols, tile, n);
    const float* offset =
        bias.present() ? read_row(run.kernels, bias, 0, chunk.column, n, scratch.take(Piece::kBias, n)) : nullptr;
    float* memory = scratch.take(Piece::kRow, n);
    for (int64_t i = 0; i < chunk.rows; i++) {
      const int64_t r = chunk.row + i;
      float* product = tile + i * n;
      const float* before = residual.present() ? read_row(run.kernels, residual, r, chunk.column, n, memory) : nullptr;
      float* result = place_row(out, r, chunk.column, product);
      run.kernels.finish_linear(end, product, offset, before, result, n);
      write_row(run.kernels, out, r, chunk.column, n, result);
    }
  });
}

}  // namespace zo2::cpu
