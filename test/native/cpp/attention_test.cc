// attention against a naive double-precision reference that holds the whole score matrix; see op_case.h for what every
// case checks besides.
#include <algorithm>
#include <cmath>

#include "op_case.h"

namespace {

using zo2::test::dtype_name;
using zo2::test::on_cuda;
using zo2::test::OpCase;
using zo2::test::Random;

struct Sequence {
  int64_t start, length, prefix_start, prefix_length;
  int64_t key_start = 0;  // where a table has a column for it
};

struct Attention {
  const char* name;
  int64_t rows, heads, kv_heads, width;
  std::vector<Sequence> sequences;
  zo2_dtype dtype = ZO2_F32;
  bool fused = false;     // q, k and v are column slices of one matrix
  bool in_place = false;  // out is q
  double size = 1;        // of q and k: large ones make the softmax sharp and move its maximum from block to block
  int64_t window = 0;
  // 0: k and v have the rows of q. Otherwise they lie in a cache of so many, and the table has a fifth column
  int64_t cache_rows = 0;
};

constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES;

void test_attention(const Attention& a) {
  OpCase test(std::string("attention: ") + a.name + ", " + dtype_name(a.dtype) + ", window " +
              std::to_string(a.window));
  Random random(static_cast<uint64_t>(a.rows * 31 + a.width));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(a.rows) + 4, static_cast<uint64_t>(a.rows));
  test.symbol(ZO2_SYMBOL_SEQUENCES, a.sequences.size() + 2, a.sequences.size());
  const int64_t q_cols = a.heads * a.width, kv_cols = a.kv_heads * a.width;
  const bool cached = a.cache_rows > 0;
  const auto key_start = [&](const Sequence& s) { return cached ? s.key_start : s.start; };
  int q, k, v;
  if (a.fused) {
    const int fused = test.operand(ZO2_SPACE_WORKSPACE, a.dtype, kRows, q_cols + 2 * kv_cols, 3);
    test.randomise(fused, random, a.size);
    q = test.slice(fused, 0, q_cols);
    k = test.slice(fused, q_cols, kv_cols);
    v = test.slice(fused, q_cols + kv_cols, kv_cols);
  } else {
    q = test.operand(ZO2_SPACE_WORKSPACE, a.dtype, kRows, q_cols, 1);
    k = test.operand(cached ? ZO2_SPACE_CACHE : ZO2_SPACE_WORKSPACE, a.dtype, cached ? a.cache_rows : kRows, kv_cols,
                     3);
    v = test.operand(cached ? ZO2_SPACE_CACHE : ZO2_SPACE_WORKSPACE, a.dtype, cached ? a.cache_rows : kRows, kv_cols);
    for (int operand : {q, k}) test.randomise(operand, random, a.size);
    test.randomise(v, random, 1);
  }
  const int out = a.in_place ? q : test.operand(ZO2_SPACE_WORKSPACE, a.dtype, kRows, q_cols, 2);
  if (!a.in_place) test.randomise(out, random, 1);
  const int table = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kSequences, cached ? 5 : 4, 1);
  for (size_t s = 0; s < a.sequences.size(); s++) {
    const Sequence& sequence = a.sequences[s];
    const int64_t row = static_cast<int64_t>(s);
    test.set(table, row, 0, double(sequence.start));
    test.set(table, row, 1, double(sequence.length));
    test.set(table, row, 2, double(sequence.prefix_start));
    test.set(table, row, 3, double(sequence.prefix_length));
    if (cached) test.set(table, row, 4, double(sequence.key_start));
  }
  const double scale = 1 / std::sqrt(double(a.width));
  test.op(ZO2_OP_ATTENTION,
          {double(out), double(q), double(k), double(v), double(table), double(a.heads), double(a.kv_heads), scale,
           double(a.window)},
          {out});
  test.run([&] {
    std::vector<double> expected(static_cast<size_t>(a.rows * q_cols)), sizes(expected.size());
    // CUDA's kernels for 16-bit operands round each weight of the softmax to that dtype.
    const bool rounds = on_cuda() && a.dtype != ZO2_F32;
    const double weight_error = !rounds               ? 0
                                : a.dtype == ZO2_BF16 ? 0x1p-8
                                                      : 0x1p-11,
                 least_weight = rounds && a.dtype == ZO2_F16 ? 0x1p-25 : 0;
    for (int64_t r = 0; r < a.rows; r++) {
      for (int64_t c = 0; c < q_cols; c++) expected[size_t(r * q_cols + c)] = test.before(out, r, c);
    }
    for (const Sequence& s : a.sequences) {
      for (int64_t i = 0; i < s.length; i++) {
        std::vector<int64_t> keys;
        for (int64_t position = 0; position <= s.prefix_length + i; position++) {
          if (a.window != 0 && position <= s.prefix_length + i - a.window) continue;
          keys.push_back(position < s.prefix_length ? s.prefix_start + position
                                                    : key_start(s) + position - s.prefix_length);
        }
        for (int64_t h = 0; h < a.heads; h++) {
          const int64_t kv = h / (a.heads / a.kv_heads) * a.width;
          std::vector<double> weights;
          double sum = 0, largest = -HUGE_VAL;
          for (int64_t key : keys) {
            double score = 0;
            for (int64_t c = 0; c < a.width; c++)
              score += test.before(q, s.start + i, h * a.width + c) * test.before(k, key, kv + c);
            weights.push_back(score * scale);
            largest = std::max(largest, weights.back());
          }
          for (double& w : weights) sum += w = std::exp(w - largest);
          for (int64_t c = 0; c < a.width; c++) {
            double value = 0, error = 0;
            for (size_t j = 0; j < keys.size(); j++) {
              const double factor = test.before(v, keys[j], kv + c), term = weights[j] / sum * factor;
              value += term;
              error += weight_error * std::fabs(term) + least_weight * std::fabs(factor);
            }
            expected[size_t((s.start + i) * q_cols + h * a.width + c)] = value;
            sizes[size_t((s.start + i) * q_cols + h * a.width + c)] = error;
          }
        }
      }
    }
    // A score of size s carries an fp32 error of about s 2^-22, which the exponential turns into a relative one.
    const double score = a.size * a.size * std::sqrt(double(a.width));
    test.expect(
        out, [&](int64_t r, int64_t c) { return expected[size_t(r * q_cols + c)]; },
        [&](int64_t r, int64_t c) { return 2e-6 + 5e-7 * score + sizes[size_t(r * q_cols + c)]; });
  });
}

// A table that names rows which are not there, or one row twice, is an error that names the sequence; nothing is
// written. q has 10 rows, and so have k and v but with key_rows, of a cache.
void test_bad_table(const char* name, const std::vector<Sequence>& sequences, const char* expected,
                    int64_t key_rows = 0) {
  OpCase test(name);
  Random random(1);
  test.symbol(ZO2_SYMBOL_ROWS, 20, 10);
  test.symbol(ZO2_SYMBOL_SEQUENCES, sequences.size(), sequences.size());
  const int q = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8),
            out = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8);
  const int keys = key_rows > 0 ? test.operand(ZO2_SPACE_CACHE, ZO2_F32, key_rows, 8) : q;
  const int table = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kSequences, key_rows > 0 ? 5 : 4);
  for (size_t s = 0; s < sequences.size(); s++) {
    const double row[] = {double(sequences[s].start), double(sequences[s].length), double(sequences[s].prefix_start),
                          double(sequences[s].prefix_length), double(sequences[s].key_start)};
    for (int64_t c = 0; c < test.cols(table); c++) test.set(table, int64_t(s), c, row[c]);
  }
  test.op(ZO2_OP_ATTENTION, {double(out), double(q), double(keys), double(keys), double(table), 2, 2, 1, 0}, {});
  test.run_refused(expected);
}

}  // namespace

int main() {
  for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    test_attention({"one row", 1, 1, 1, 8, {{0, 1, 0, 0}}, dtype});
    test_attention({"no sequences", 3, 1, 1, 8, {}, dtype});
    test_attention(
        {"an empty sequence, rows outside every sequence", 12, 2, 2, 8, {{2, 0, 0, 0}, {3, 5, 0, 0}}, dtype});
    test_attention({"lengths around the blocks",
                    680,
                    2,
                    2,
                    16,
                    {{0, 63, 0, 0},
                     {63, 64, 0, 0},
                     {127, 65, 0, 0},
                     {192, 95, 0, 0},
                     {287, 96, 0, 0},
                     {383, 97, 0, 0},
                     {490, 190, 0, 0}},
                    dtype});
    test_attention({"odd head size", 70, 3, 3, 5, {{1, 66, 0, 0}}, dtype});
    test_attention({"head size with a tail", 70, 2, 1, 21, {{0, 70, 0, 0}}, dtype});
    test_attention({"grouped heads, fused q, k and v", 90, 6, 2, 8, {{0, 40, 0, 0}, {40, 50, 0, 0}}, dtype, true});
    test_attention({"prefixes of all sizes",
                    200,
                    2,
                    2,
                    8,
                    {{0, 90, 0, 0}, {90, 3, 0, 90}, {93, 1, 0, 65}, {94, 60, 10, 64}, {154, 2, 5, 1}},
                    dtype});
    test_attention({"out is q", 100, 2, 2, 8, {{0, 100, 0, 0}}, dtype, false, true});
    for (int64_t window : {1, 7, 64, 65, 1000}) {
      test_attention(
          {"a window over grouped heads and prefixes",
           330,
           4,
           2,
           16,
           {{0, 90, 0, 0}, {90, 3, 0, 90}, {93, 1, 0, 65}, {94, 60, 10, 64}, {154, 2, 5, 1}, {160, 170, 0, 0}},
           dtype,
           true,
           false,
           1,
           window});
    }
    // Head sizes that CUDA's kernels are tuned for, with lengths around their tiles.
    for (int64_t width : {16, 64, 80, 96, 128, 256}) {
      test_attention({"head size",
                      210,
                      2,
                      1,
                      width,
                      {{0, 1, 0, 0}, {1, 15, 0, 0}, {16, 17, 0, 0}, {33, 64, 0, 33}, {97, 113, 0, 97}},
                      dtype});
    }
  }
  {
    const OpCase::Aligned aligned;
    for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
      for (int64_t width : {16, 32, 64, 80, 96, 112, 128, 256}) {
        const int64_t window = width == 64 ? 20 : 0;
        test_attention({"aligned",
                        150,
                        2,
                        1,
                        width,
                        {{0, 17, 0, 0}, {17, 65, 0, 0}, {82, 60, 17, 65}},
                        dtype,
                        width % 32 == 0,
                        false,
                        1,
                        window});
      }
      test_attention({"out is q", 140, 2, 2, 64, {{0, 140, 0, 0}}, dtype, false, true});
    }
  }
  test_attention({"sharp softmax", 300, 1, 1, 64, {{0, 300, 0, 0}}, ZO2_F32, false, false, 4});
  test_attention({"wide heads", 60, 1, 1, 200, {{0, 60, 0, 0}}});

  for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    for (bool aligned : {false, true}) {
      const auto cached = [&](const char* name, Attention a) {
        a.name = name;
        a.dtype = dtype;
        if (!aligned) return test_attention(a);
        const OpCase::Aligned all;
        test_attention(a);
      };
      // One new row each for three sequences, whose earlier keys and values lie elsewhere; rows of the cache stand
      // between them.
      Attention decode = {"", 3, 4, 2, 16, {{0, 1, 40, 30, 70}, {1, 1, 0, 5, 5}, {2, 1, 10, 0, 10}}};
      decode.cache_rows = 90;
      cached("decode from a cache with more rows", decode);
      for (int64_t window : {1, 6, 31, 70}) {
        decode.window = window;
        cached("decode with a window", decode);
      }
      // Prompts of several tiles; the last shares the prefix of the first, and its own keys do not follow it.
      Attention prompts = {
          "", 240, 2,
          1,  64,  {{0, 100, 0, 0, 150}, {100, 70, 0, 0, 10}, {170, 66, 150, 100, 300}, {240, 0, 366, 0, 366}}};
      prompts.cache_rows = 366;
      cached("prompts into a cache", prompts);
      prompts.window = 90;
      cached("prompts with a window", prompts);
      // A cache with fewer rows than q, of which most are outside every sequence; keys that two sequences share.
      Attention few = {"", 60, 2, 2, 80, {{50, 4, 1, 3, 0}, {7, 4, 0, 1, 0}}};
      few.cache_rows = 4;
      cached("a cache with fewer rows", few);
    }
  }

  test_bad_table("start before the rows", {{0, 2, 0, 0}, {-1, 2, 0, 0}}, "sequence 1");
  test_bad_table("end past the rows of this run", {{5, 6, 0, 0}}, "sequence 0");
  test_bad_table("prefix past the rows", {{0, 2, 9, 2}}, "sequence 0");
  test_bad_table("sum past 32 bits", {{2147483647, 2147483647, 0, 0}}, "sequence 0");
  test_bad_table("one row in two sequences", {{4, 4, 0, 0}, {0, 5, 0, 0}}, "row 4");
  const char* const start = "sequence 1 is start 9, length 2, prefixStart 0, prefixLength 0, but there are 10 rows";
  test_bad_table("end past the rows, with a cache of more", {{0, 2, 0, 0, 0}, {9, 2, 0, 0, 0}}, start, 30);
  const char* const keys = "sequence 0 has length 4, prefixStart 3, prefixLength 2, keyStart 27, but k has 30 rows";
  test_bad_table("keys past the rows of the cache", {{0, 4, 3, 2, 27}, {0, 2, 0, 0, -1}}, keys, 30);
  test_bad_table("keys before the cache", {{0, 4, 0, 0, -1}}, "keyStart -1", 30);
  test_bad_table("prefix past the rows of the cache", {{0, 2, 29, 2, 0}}, "prefixStart 29", 30);
  test_bad_table("prefix past the rows of a cache that is smaller than q", {{0, 1, 3, 2, 0}}, "but k has 4 rows", 4);
  test_bad_table("sum of keys past 32 bits", {{0, 2, 0, 0, 2147483647}}, "keyStart 2147483647", 30);
  test_bad_table("one row of q in two sequences, with a cache", {{4, 4, 0, 0, 0}, {0, 5, 0, 0, 9}}, "row 4", 30);
  return zo2::test::report();
}
