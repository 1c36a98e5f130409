#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

#include <algorithm>

namespace zo2::cpu {

namespace {
// A chunk is kBlock rows of out; it walks along them in steps of kBlock, whose square of x, widened, stays in the
// cache.
constexpr int64_t kBlock = 64;
enum { kOut, kX };
}  // namespace

void run_transpose(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX];
  if (out.empty()) return;
  for_row_blocks(run.pool, out.rows, kBlock, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    float* square = scratch.take(Piece::kTile, kBlock * kBlock);
    float* row = scratch.take(Piece::kRow, kBlock);
    const int64_t width = last - first;
    for (int64_t from = 0; from < x.rows; from += kBlock) {
      const int64_t count = std::min(kBlock, x.rows - from);
      for (int64_t r = 0; r < count; r++)
        run.kernels.widen(x.dtype, x.row(from + r, first), square + r * kBlock, width);
      for (int64_t c = 0; c < width; c++) {
        for (int64_t r = 0; r < count; r++) row[r] = square[r * kBlock + c];
        write_row(run.kernels, out, first + c, from, count, row);
      }
    }
  });
}

}  // namespace zo2::cpu
