#include "../scratch.h"
#include "ops.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 32;
enum { kOut, kX };
}  // namespace

void run_cast(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX];
  if (out.empty()) return;
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    float* memory = Scratch::mine().take(Piece::kRow, out.cols);
    for (int64_t r = first; r < last; r++) {
      write_row(run.kernels, out, r, 0, out.cols, read_row(run.kernels, x, r, 0, out.cols, memory));
    }
  });
}

}  // namespace zo2::cpu
