#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 16;
enum { kOut, kGate, kUp };
enum { kActivation };
}  // namespace

void run_gated_activation(const OpRun& run) {
  const View &out = run.views[kOut], &gate = run.views[kGate], &up = run.views[kUp];
  if (out.empty()) return;
  const int64_t n = out.cols;
  const int activation = static_cast<int>(run.op.integer(kActivation));
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    float* gates = scratch.take(Piece::kRow, n);
    float* ups = scratch.take(Piece::kOtherRow, n);
    for (int64_t r = first; r < last; r++) {
      const float* left = read_row(run.kernels, gate, r, 0, n, gates);
      const float* right = read_row(run.kernels, up, r, 0, n, ups);
      float* result = place_row(out, r, 0, gates);
      run.kernels.gated_activation(left, right, activation, result, n);
      write_row(run.kernels, out, r, 0, n, result);
    }
  });
}

}  // namespace zo2::cpu
