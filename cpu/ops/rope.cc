#include <cmath>
#include <cstring>

#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kBlockRows = 16;
enum { kOut, kX, kPositions };
enum { kHeadSize, kRotary, kScaling, kCount, kFirstFrequency };
}  // namespace

void run_rope(const OpRun& run) {
  const View &out = run.views[kOut], &x = run.views[kX], &positions = run.views[kPositions];
  if (out.empty()) return;
  const int64_t head_size = run.op.integer(kHeadSize), rotary = run.op.integer(kRotary), count = run.op.integer(kCount);
  const float scaling = run.op.real(kScaling);
  for_row_blocks(run.pool, out.rows, kBlockRows, [&](int64_t first, int64_t last) {
    Scratch& scratch = Scratch::mine();
    float* memory = scratch.take(Piece::kRow, head_size);
    float* other = scratch.take(Piece::kOtherRow, head_size);
    float* cosines = scratch.take(Piece::kAngles, 2 * count);
    float* sines = cosines + count;
    for (int64_t r = first; r < last; r++) {
      const float position = static_cast<float>(*positions.integers(r));
      for (int64_t j = 0; j < count; j++) {
        const float angle = position * run.op.real(static_cast<size_t>(kFirstFrequency + j));
        cosines[j] = std::cos(angle) * scaling;
        sines[j] = std::sin(angle) * scaling;
      }
      for (int64_t c = 0; c < out.cols; c += head_size) {
        const float* head = read_row(run.kernels, x, r, c, head_size, memory);
        float* result = place_row(out, r, c, other);
        run.kernels.rotate(head, cosines, sines, result, count);
        if (head != result)
          std::memcpy(result + rotary, head + rotary, static_cast<size_t>(head_size - rotary) * sizeof(float));
        write_row(run.kernels, out, r, c, head_size, result);
      }
    }
  });
}

}  // namespace zo2::cpu
