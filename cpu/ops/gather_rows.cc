#include "../scratch.h"
#include "ops.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 32;
enum { kOut, kX, kIndex };
}  // namespace

void run_gather_rows(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX], &index = run.views[kIndex];
  if (out.empty()) return;
  for (int64_t r = 0; r < out.rows; r++) {
    const int32_t source = *index.integers(r);
    if (source >= 0 && source < x.rows) continue;
    fail_with({FaultKind::kIndexRow, static_cast<uint32_t>(run.number), static_cast<uint64_t>(r), {source, x.rows}});
  }
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    float* memory = Scratch::mine().take(Piece::kRow, out.cols);
    for (int64_t r = first; r < last; r++) {
      write_row(run.kernels, out, r, 0, out.cols, read_row(run.kernels, x, *index.integers(r), 0, out.cols, memory));
    }
  });
}

}  // namespace zo2::cpu
