#include "cpu/ops/ops.h"
#include "cpu/ops/scratch.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace zo2::cpu {

namespace {

// One chunk is the attention of kQueryBlock rows of one sequence and one head; it walks over the keys in blocks of
// kKeyBlock and keeps scores of kQueryBlock x kKeyBlock at a time. kQueryBlock is a multiple of the panel heights (6
// and 4), kKeyBlock of the panel widths.
constexpr int64_t kQueryBlock = 96;
constexpr int64_t kKeyBlock = 64;
enum { kOut, kQ, kK, kV, kSequences };
enum { kHeads, kKeyHeads, kScale, kWindow };

// Query row i of a chunk sees the keys `hidden` + i <= key < `visible` + i of those it is given, where there are such.
constexpr int64_t kNothingHidden = std::numeric_limits<int64_t>::min() / 2;
struct Sight {
  int64_t hidden, visible;
  Sight after(int64_t keys) const { return {hidden - keys, visible - keys}; }
};

struct Sequence {
  int64_t start, length, prefix_start, prefix_length, key_start;
};

struct QueryBlock {
  Sequence sequence;
  int64_t first, count;  // rows of the sequence
};

// The sequence in row i of the table. Throws Failure when it has rows that q, or k and v, have not.
Sequence sequence_at(const OpRun& run, int64_t i) {
  const View& table = run.views[kSequences];
  const int64_t rows = run.views[kQ].rows, key_rows = run.views[kK].rows;
  const int32_t* s = table.integers(i);
  const bool keyed = table.cols == 5;
  const Sequence sequence = {s[0], s[1], s[2], s[3], keyed ? s[4] : s[0]};
  const auto fits = [](int64_t start, int64_t length, int64_t limit) {
    return start >= 0 && length >= 0 && start + length <= limit;
  };
  const bool prefix_fits = fits(sequence.prefix_start, sequence.prefix_length, key_rows);
  const auto op = static_cast<uint32_t>(run.number);
  const auto index = static_cast<uint64_t>(i);
  if (!fits(sequence.start, sequence.length, rows) || (!keyed && !prefix_fits)) {
    fail_with({FaultKind::kSequence, op, index, {s[0], s[1], s[2], s[3], rows}});
  }
  if (!prefix_fits || !fits(sequence.key_start, sequence.length, key_rows)) {
    fail_with({FaultKind::kSequenceKeys, op, index, {s[1], s[2], s[3], sequence.key_start, key_rows}});
  }
  return sequence;
}

// Two sequences that share a row would be written by two threads.
void check_disjoint(const OpRun& run, const std::vector<Sequence>& sequences) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const Sequence& s : sequences) {
    if (s.length > 0) ranges.emplace_back(s.start, s.start + s.length);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); i++) {
    if (ranges[i].first >= ranges[i - 1].second) continue;
    fail_with({FaultKind::kSequenceOverlap,
               static_cast<uint32_t>(run.number),
               static_cast<uint64_t>(ranges[i].first),
               {ranges[i - 1].first, ranges[i].first}});
  }
}

std::vector<QueryBlock> query_blocks(const OpRun& run) {
  std::vector<Sequence> sequences;
  std::vector<QueryBlock> blocks;
  for (int64_t i = 0; i < run.views[kSequences].rows; i++) {
    const Sequence sequence = sequence_at(run, i);
    sequences.push_back(sequence);
    // The last rows have the most keys: they come first, so that no thread is left with a long chunk at the end.
    for (int64_t first = (sequence.length - 1) / kQueryBlock * kQueryBlock; sequence.length > 0 && first >= 0;
         first -= kQueryBlock) {
      blocks.push_back({sequence, first, std::min(kQueryBlock, sequence.length - first)});
    }
  }
  check_disjoint(run, sequences);
  return blocks;
}

// The part of a view that belongs to one head.
struct HeadView {
  const View& view;
  int64_t column;
  Matrix from(int64_t row) const { return {view.row(row, column), view.dtype, view.stride}; }
};

// What a chunk keeps while it walks over the keys: for every query row the running maximum and sum of its softmax and
// the weighted sum of values relative to that maximum.
class Walk {
 public:
  Walk(const OpRun& run, HeadView k, HeadView v, int64_t width, int64_t queries)
      : kernels_(run.kernels), k_(k), v_(v), width_(width), queries_(queries), scale_(run.op.real(kScale)) {
    Scratch& scratch = Scratch::mine();
    const int64_t columns = (width + 15) / 16 * 16;
    query_panels_ = scratch.take(Piece::kQueries, kQueryBlock * width + kPanelSlack);
    key_panels_ = scratch.take(Piece::kKeys, kKeyBlock * width + kPanelSlack);
    value_panels_ = scratch.take(Piece::kValues, kKeyBlock * columns + kPanelSlack);
    scores_ = scratch.take(Piece::kScores, kQueryBlock * kKeyBlock);
    weight_panels_ = scratch.take(Piece::kWeights, kQueryBlock * kKeyBlock + kPanelSlack);
    sums_ = scratch.take(Piece::kAccumulator, kQueryBlock * width);
    statistics_ = scratch.take(Piece::kStatistics, 2 * kQueryBlock);
    std::fill_n(sums_, queries * width, 0.0f);
    for (int64_t i = 0; i < queries; i++) {
      statistics_[2 * i] = -std::numeric_limits<float>::infinity();
      statistics_[2 * i + 1] = 0.0f;
    }
  }

  void load_queries(const Matrix& q) { kernels_.pack_left(q, queries_, width_, query_panels_); }

  // Keys start .. start + count. Blocks that the window hides from every row are not looked at.
  void keys(int64_t start, int64_t count, const Sight& sight) {
    const int64_t begin = std::max<int64_t>(0, sight.hidden) / kKeyBlock * kKeyBlock;
    for (int64_t first = begin; first < count; first += kKeyBlock) {
      block(start + first, std::min(kKeyBlock, count - first), sight.after(first));
    }
  }

  // Weighted sums of the values over the softmax's sum, row by row.
  const float* result(int64_t i) {
    float* row = sums_ + i * width_;
    kernels_.scale(row, 1.0f / statistics_[2 * i + 1], width_);
    return row;
  }

 private:
  void block(int64_t row, int64_t count, const Sight& sight) {
    const int64_t visible = sight.visible;
    // Rows before `first`, whole panels of them, see none of these keys.
    const int64_t first = std::max<int64_t>(0, 1 - visible) / kernels_.panel_rows * kernels_.panel_rows,
                  rows = queries_ - first;
    kernels_.pack_right_transposed(k_.from(row), count, width_, key_panels_);
    kernels_.multiply_panels(query_panels_ + first * width_, key_panels_, rows, count, width_, false, scores_,
                             kKeyBlock);
    for (int64_t i = 0; i < rows; i++) {
      float* scores = scores_ + i * kKeyBlock;
      const int64_t end = std::min(count, visible + first + i), begin = std::max<int64_t>(0, sight.hidden + first + i);
      if (begin >= end) {
        std::fill_n(scores, count, 0.0f);
        continue;
      }
      float* statistics = statistics_ + 2 * (first + i);
      std::fill_n(scores, begin, 0.0f);
      const float correction =
          kernels_.softmax_block(scores + begin, end - begin, count - begin, scale_, statistics, statistics + 1);
      if (correction != 1.0f) kernels_.scale(sums_ + (first + i) * width_, correction, width_);
    }
    kernels_.pack_left({scores_, ZO2_F32, kKeyBlock}, rows, count, weight_panels_);
    kernels_.pack_right(v_.from(row), count, width_, value_panels_);
    kernels_.multiply_panels(weight_panels_, value_panels_, rows, width_, count, true, sums_ + first * width_, width_);
  }

  const OpKernels& kernels_;
  const HeadView k_, v_;
  const int64_t width_, queries_;
  const float scale_;
  float *query_panels_, *key_panels_, *value_panels_, *scores_, *weight_panels_, *sums_, *statistics_;
};

}  // namespace

void run_attention(const OpRun& run) {
  const View &out = run.views[kOut], &q = run.views[kQ];
  const int64_t heads = run.op.integer(kHeads), key_heads = run.op.integer(kKeyHeads), window = run.op.integer(kWindow);
  const std::vector<QueryBlock> blocks = query_blocks(run);
  if (blocks.empty()) return;
  const int64_t width = q.cols / heads;
  run.pool.parallel_for(static_cast<int64_t>(blocks.size()) * heads, [&](int64_t chunk, unsigned) {
    const QueryBlock& block = blocks[static_cast<size_t>(chunk / heads)];
    const Sequence& sequence = block.sequence;
    const int64_t head = chunk % heads, key_head = head / (heads / key_heads);
    const int64_t row = sequence.start + block.first;
    Walk walk(run, {run.views[kK], key_head * width}, {run.views[kV], key_head * width}, width, block.count);
    walk.load_queries(HeadView{q, head * width}.from(row));
    // By position, which counts from the start of the prefix.
    const int64_t position = sequence.prefix_length + block.first;
    const Sight sight = {window == 0 ? kNothingHidden : position - window + 1, position + 1};
    walk.keys(sequence.prefix_start, sequence.prefix_length, sight);
    walk.keys(sequence.key_start, block.first + block.count, sight.after(sequence.prefix_length));
    for (int64_t i = 0; i < block.count; i++) write_row(run.kernels, out, row + i, head * width, width, walk.result(i));
  });
}

}  // namespace zo2::cpu
