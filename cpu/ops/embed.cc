#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

#include <algorithm>
#include <cstring>

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 32;
enum { kOut, kTable, kIndex };
enum { kRowStart, kRowCount, kAccumulate };
}  // namespace

void run_embed(const OpRun& run) {
  const View &out = run.views[kOut], &table = run.views[kTable], &index = run.views[kIndex];
  const int64_t start = run.op.integer(kRowStart);
  // A gathered table may hold fewer rows in this run than at most.
  const int64_t count = std::min(run.op.integer(kRowCount), table.rows);
  const bool accumulate = run.op.integer(kAccumulate) != 0;
  if (out.empty() || count == 0) return;
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    float* memory = scratch.take(Piece::kRow, out.cols);
    float* other = scratch.take(Piece::kOtherRow, out.cols);
    for (int64_t r = first; r < last; r++) {
      const int64_t source = *index.integers(r) - start;
      if (source < 0 || source >= count) continue;
      const float* row = read_row(run.kernels, table, source, 0, out.cols, memory);
      if (!accumulate) {
        write_row(run.kernels, out, r, 0, out.cols, row);
        continue;
      }
      float* sum = place_row(out, r, 0, other);
      if (sum == other) run.kernels.widen(out.dtype, out.row(r), sum, out.cols);
      run.kernels.add(sum, row, out.cols);
      write_row(run.kernels, out, r, 0, out.cols, sum);
    }
  });
}

}  // namespace zo2::cpu
