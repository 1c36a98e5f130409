// What cast, gatherRows and scatterRows share: rows copied from one matrix to another, which may be of another dtype.
#pragma once

#include <cstdint>

#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

namespace zo2::cpu {

// Row to(r) of out becomes row from(r) of x, rounded to nearest even, for r in 0 .. count - 1. Both exist, and no two
// to(r) are the same.
template <typename To, typename From>
void copy_rows(const OpRun& run, const View& out, const View& x, int64_t count, const To& to, const From& from) {
  constexpr int64_t kBlockRows = 32;
  for_row_blocks(run.pool, count, kBlockRows, [&](int64_t first, int64_t last) {
    float* memory = Scratch::mine().take(Piece::kRow, out.cols);
    for (int64_t r = first; r < last; r++) {
      write_row(run.kernels, out, to(r), 0, out.cols, read_row(run.kernels, x, from(r), 0, out.cols, memory));
    }
  });
}

// Throws Failure with a fault of this kind when an entry of index, int32 [n, 1], is none of the rows 0 .. rows - 1.
inline void check_index(const OpRun& run, const View& index, int64_t rows, FaultKind kind) {
  for (int64_t r = 0; r < index.rows; r++) {
    const int32_t row = *index.integers(r);
    if (row >= 0 && row < rows) continue;
    fail_with({kind, static_cast<uint32_t>(run.number), static_cast<uint64_t>(r), {row, rows}});
  }
}

}  // namespace zo2::cpu
