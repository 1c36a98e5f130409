#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 16;
enum { kOut, kX, kGain, kBias };
enum { kEpsilon };
}  // namespace

void run_layer_norm(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX];
  if (out.empty()) return;
  const int64_t n = out.cols;
  const float epsilon = run.op.real(kEpsilon);
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    const float* gain = read_row(run.kernels, run.views[kGain], 0, 0, n, scratch.take(Piece::kGain, n));
    const View& offset = run.views[kBias];
    const float* bias =
        offset.present() ? read_row(run.kernels, offset, 0, 0, n, scratch.take(Piece::kBias, n)) : nullptr;
    float* memory = scratch.take(Piece::kRow, n);
    float* other = scratch.take(Piece::kOtherRow, n);
    for (int64_t r = first; r < last; r++) {
      float* result = place_row(out, r, 0, other);
      run.kernels.layer_norm(read_row(run.kernels, x, r, 0, n, memory), gain, bias, epsilon, result, n);
      write_row(run.kernels, out, r, 0, n, result);
    }
  });
}

}  // namespace zo2::cpu
