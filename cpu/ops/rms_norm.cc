#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 16;
enum { kOut, kX, kGain };
enum { kEpsilon };
}  // namespace

void run_rms_norm(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX];
  if (out.empty()) return;
  const int64_t group = run.views[kGain].cols;
  const float epsilon = run.op.real(kEpsilon);
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    const float* gain = read_row(run.kernels, run.views[kGain], 0, 0, group, scratch.take(Piece::kGain, group));
    float* memory = scratch.take(Piece::kRow, group);
    float* other = scratch.take(Piece::kOtherRow, group);
    for (int64_t r = first; r < last; r++) {
      for (int64_t c = 0; c < out.cols; c += group) {
        float* result = place_row(out, r, c, other);
        run.kernels.rms_norm(read_row(run.kernels, x, r, c, group, memory), gain, epsilon, result, group);
        write_row(run.kernels, out, r, c, group, result);
      }
    }
  });
}

}  // namespace zo2::cpu
