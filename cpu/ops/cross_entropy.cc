#include "cpu/ops/matmul.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace zo2::cpu {

namespace {

using contract::kIgnored;

constexpr int64_t kChunkRows = 512;
constexpr int64_t kTileColumns = 256;    // logits that exist at a time on a thread: kChunkRows x kTileColumns
constexpr int64_t kChunkColumns = 1024;  // vocabulary entries behind one pair (maximum, sum) per row
constexpr int64_t kCombineRows = 64;
enum { kLogprob, kState, kX, kWeight, kTargets };
enum { kVocabStart, kTileFlags };

// The targets of each row of x: those of row r are order[begin[r]] .. order[begin[r + 1] - 1], in batch order; ignored
// ones are left out.
struct TargetsByRow {
  std::vector<int64_t> begin, order;
};

// A running maximum with the sum of exponentials relative to it.
struct Partial {
  float maximum = -std::numeric_limits<float>::infinity();
  double sum = 0;

  void absorb(float other_maximum, double other_sum) {
    if (other_sum == 0) return;
    if (other_maximum > maximum) {
      sum = sum * std::exp(static_cast<double>(maximum) - other_maximum) + other_sum;
      maximum = other_maximum;
    } else {
      sum += other_sum * std::exp(static_cast<double>(other_maximum) - maximum);
    }
  }
};

TargetsByRow index_targets(const OpRun& run) {
  const View& targets = run.views[kTargets];
  const int64_t rows = run.views[kState].rows;
  TargetsByRow index;
  index.begin.assign(static_cast<size_t>(rows) + 1, 0);
  for (int64_t t = 0; t < targets.rows; t++) {
    const int32_t* target = targets.integers(t);
    if (target[1] == kIgnored) continue;
    if (target[0] < 0 || target[0] >= rows) {
      fail_with({FaultKind::kTarget, static_cast<uint32_t>(run.number), static_cast<uint64_t>(t), {target[0], rows}});
    }
    index.begin[static_cast<size_t>(target[0]) + 1]++;
  }
  for (size_t r = 0; r < static_cast<size_t>(rows); r++) index.begin[r + 1] += index.begin[r];
  index.order.resize(static_cast<size_t>(index.begin.back()));
  std::vector<int64_t> next(index.begin.begin(), index.begin.end() - 1);
  for (int64_t t = 0; t < targets.rows; t++) {
    const int32_t* target = targets.integers(t);
    if (target[1] != kIgnored) index.order[static_cast<size_t>(next[static_cast<size_t>(target[0])]++)] = t;
  }
  return index;
}

void initialise(const View& state, const View& logprob, const View& targets) {
  for (int64_t r = 0; r < state.rows; r++) {
    state.floats(r)[0] = -std::numeric_limits<float>::infinity();
    state.floats(r)[1] = 0;
  }
  for (int64_t t = 0; t < targets.rows; t++) {
    *logprob.floats(t) = targets.integers(t)[1] == kIgnored ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
}

}  // namespace

// Until the last tile, logprob holds the target's logit (NaN before its tile was seen).
void run_cross_entropy(const OpRun& run) {
  const View &logprob = run.views[kLogprob], &state = run.views[kState], &x = run.views[kX];
  const View &weight = run.views[kWeight], &targets = run.views[kTargets];
  const int64_t start = run.op.integer(kVocabStart), flags = run.op.integer(kTileFlags);
  const TargetsByRow index = index_targets(run);
  if (flags & ZO2_TILE_FIRST) initialise(state, logprob, targets);
  if (state.rows == 0) return;

  // Two dimensions of chunks, because a batch may have few labelled rows. Each chunk gives one partial sum per row, and
  // the sums are combined below in the order of the vocabulary, whoever computed them.
  const int64_t row_chunks = (x.rows + kChunkRows - 1) / kChunkRows;
  const int64_t chunk_rows = (x.rows + row_chunks - 1) / row_chunks;
  const int64_t column_chunks = (weight.rows + kChunkColumns - 1) / kChunkColumns;
  std::vector<Partial> partials(static_cast<size_t>(column_chunks * x.rows));
  run.pool.parallel_for(row_chunks * column_chunks, [&](int64_t number, unsigned) {
    const int64_t row = number % row_chunks * chunk_rows, rows = std::min(chunk_rows, x.rows - row);
    const int64_t column_chunk = number / row_chunks;
    const int64_t last = std::min((column_chunk + 1) * kChunkColumns, weight.rows);
    float* tile = Scratch::mine().take(Piece::kTile, rows * kTileColumns);
    for (int64_t column = column_chunk * kChunkColumns; column < last; column += kTileColumns) {
      const int64_t n = std::min(kTileColumns, last - column);
      multiply_tile(run.kernels, submatrix(matrix_of(x), row, 0), submatrix(matrix_of(weight), column, 0), rows, n,
                    x.cols, tile, n);
      for (int64_t i = 0; i < rows; i++) {
        const float* logits = tile + i * n;
        const float maximum = run.kernels.maximum(logits, n);
        // Of logits that are all -infinity the sum is 0; relative to their maximum it would be NaN.
        const float shift = maximum == -std::numeric_limits<float>::infinity() ? 0.0f : maximum;
        const double sum = static_cast<double>(run.kernels.exponential_sum(logits, shift, n));
        partials[static_cast<size_t>(column_chunk * x.rows + row + i)].absorb(maximum, sum);
        for (int64_t k = index.begin[static_cast<size_t>(row + i)]; k < index.begin[static_cast<size_t>(row + i) + 1];
             k++) {
          const int64_t t = index.order[static_cast<size_t>(k)];
          const int64_t entry = targets.integers(t)[1] - start - column;
          if (entry >= 0 && entry < n) *logprob.floats(t) = logits[entry];
        }
      }
    }
  });

  for_row_blocks(run.pool, state.rows, kCombineRows, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) {
      Partial total;
      total.absorb(state.floats(r)[0], static_cast<double>(state.floats(r)[1]));
      for (int64_t c = 0; c < column_chunks; c++) {
        const Partial& partial = partials[static_cast<size_t>(c * x.rows + r)];
        total.absorb(partial.maximum, partial.sum);
      }
      state.floats(r)[0] = total.maximum;
      state.floats(r)[1] = static_cast<float>(total.sum);
      if (!(flags & ZO2_TILE_LAST)) continue;
      const double log_sum = std::log(total.sum);
      for (int64_t k = index.begin[static_cast<size_t>(r)]; k < index.begin[static_cast<size_t>(r) + 1]; k++) {
        float* value = logprob.floats(index.order[static_cast<size_t>(k)]);
        *value = static_cast<float>(static_cast<double>(*value) - static_cast<double>(total.maximum) - log_sum);
      }
    }
  });
}

}  // namespace zo2::cpu
