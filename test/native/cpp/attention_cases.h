// Cases of attention against a naive double-precision reference that holds a whole row of scores; see op_case.h for
// what every case checks besides.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "op_case.h"

namespace zo2::test {

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
  zo2_dtype out = ZO2_I32, keys = ZO2_I32;  // I32: as dtype; in place out is q's
  double scale = 0;                         // 0: 1 / sqrt(width)
};

class AttentionCases {
 public:
  explicit AttentionCases(Runner run) : run_(std::move(run)) {}

  void one(const Attention& a) const {
    OpCase test(std::string("attention: ") + a.name + ", heads of " + std::to_string(a.width) + ", " +
                dtype_name(a.dtype) + (a.out == ZO2_I32 ? "" : std::string(" to ") + dtype_name(a.out)) + ", window " +
                std::to_string(a.window));
    Random random(static_cast<uint64_t>(a.rows * 31 + a.width));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(a.rows) + 4, static_cast<uint64_t>(a.rows));
    test.symbol(ZO2_SYMBOL_SEQUENCES, a.sequences.size() + 2, a.sequences.size());
    const int64_t q_cols = a.heads * a.width, kv_cols = a.kv_heads * a.width;
    const bool cached = a.cache_rows > 0;
    const zo2_dtype keys = a.keys == ZO2_I32 ? a.dtype : a.keys;
    Operands o{};
    if (a.fused) {
      const int fused = test.operand(ZO2_SPACE_WORKSPACE, a.dtype, kRows, q_cols + 2 * kv_cols, 3);
      test.randomise(fused, random, a.size);
      o.q = test.slice(fused, 0, q_cols);
      o.k = test.slice(fused, q_cols, kv_cols);
      o.v = test.slice(fused, q_cols + kv_cols, kv_cols);
    } else {
      const int space = cached ? ZO2_SPACE_CACHE : ZO2_SPACE_WORKSPACE;
      o.q = test.operand(ZO2_SPACE_WORKSPACE, a.dtype, kRows, q_cols, 1);
      o.k = test.operand(space, keys, cached ? a.cache_rows : kRows, kv_cols, 3);
      o.v = test.operand(space, keys, cached ? a.cache_rows : kRows, kv_cols);
      for (int operand : {o.q, o.k}) test.randomise(operand, random, a.size);
      test.randomise(o.v, random, 1);
    }
    o.out = a.in_place ? o.q : test.operand(ZO2_SPACE_WORKSPACE, a.out == ZO2_I32 ? a.dtype : a.out, kRows, q_cols, 2);
    if (!a.in_place) test.randomise(o.out, random, 1);
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
    test.op(ZO2_OP_ATTENTION,
            {double(o.out), double(o.q), double(o.k), double(o.v), double(table), double(a.heads), double(a.kv_heads),
             scale(a), double(a.window)},
            {o.out});
    Reference reference;
    run_(test, [&] {
      if (reference.values.empty()) reference = compute(test, a, o);
      verify(test, a, o, reference);
    });
  }

  // Of every dtype, aligned to nothing and as models have them.
  void all() const {
    for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
      one({"one row", 1, 1, 1, 8, {{0, 1, 0, 0}}, dtype});
      one({"no sequences", 3, 1, 1, 8, {}, dtype});
      one({"an empty sequence, rows outside every sequence", 12, 2, 2, 8, {{2, 0, 0, 0}, {3, 5, 0, 0}}, dtype});
      Attention blocks = {"lengths around the blocks", 680, 2, 2, 16, {}, dtype};
      blocks.sequences = {{0, 63, 0, 0},   {63, 64, 0, 0},  {127, 65, 0, 0}, {192, 95, 0, 0},
                          {287, 96, 0, 0}, {383, 97, 0, 0}, {490, 190, 0, 0}};
      one(blocks);
      one({"odd head size", 70, 3, 3, 5, {{1, 66, 0, 0}}, dtype});
      one({"head size with a tail", 70, 2, 1, 21, {{0, 70, 0, 0}}, dtype});
      one({"grouped heads, fused q, k and v", 90, 6, 2, 8, kTwo, dtype, true});
      one({"prefixes of all sizes", 200, 2, 2, 8, kPrefixes, dtype});
      one({"out is q", 100, 2, 2, 8, {{0, 100, 0, 0}}, dtype, false, true});
      for (int64_t window : {1, 7, 64, 65, 1000}) {
        Attention a = {"a window over grouped heads and prefixes", 330, 4, 2, 16, kPrefixes, dtype, true};
        a.sequences.push_back({160, 170, 0, 0});
        a.window = window;
        one(a);
      }
      // Head sizes that CUDA's kernels are tuned for, with lengths around their tiles.
      for (int64_t width : {16, 64, 80, 96, 128, 256}) {
        Attention a = {"head size", 210, 2, 1, width, {}, dtype};
        a.sequences = {{0, 1, 0, 0}, {1, 15, 0, 0}, {16, 17, 0, 0}, {33, 64, 0, 33}, {97, 113, 0, 97}};
        one(a);
      }
    }
    {
      const OpCase::Aligned aligned;
      for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
        for (int64_t width : {16, 32, 64, 80, 96, 112, 128, 256}) {
          Attention a = {"aligned", 150, 2, 1, width, {{0, 17, 0, 0}, {17, 65, 0, 0}, {82, 60, 17, 65}}, dtype};
          a.fused = width % 32 == 0;
          a.window = width == 64 ? 20 : 0;
          one(a);
        }
        one({"out is q", 140, 2, 2, 64, {{0, 140, 0, 0}}, dtype, false, true});
      }
    }
    one({"sharp softmax", 300, 1, 1, 64, {{0, 300, 0, 0}}, ZO2_F32, false, false, 4});
    one({"wide heads", 60, 1, 1, 200, {{0, 60, 0, 0}}});
    caches();
  }

  // What tensor cores take: 16-bit heads of a multiple of 16 columns, in aligned rows.
  void tensor_cores() const {
    const OpCase::Aligned aligned(16);
    for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
      const auto wide = [&](Attention a) {
        a.dtype = dtype;
        if (a.out == ZO2_I32 && !a.in_place) a.out = ZO2_F32;
        one(a);
      };
      const auto narrow = [&](Attention a) {
        a.out = dtype;
        wide(a);
      };
      for (int64_t width : {16, 32, 48, 64, 80, 96, 112, 128, 144, 256}) {
        narrow({"one row", 1, 1, 1, width, {{0, 1, 0, 0}}});
        wide({"a tile of queries and a tail", 150, 2, 1, width, {{0, 145, 0, 0}}});
        Attention a = {"a prefix and a window", 90, 1, 1, width, kPrefix};
        a.window = 33;
        narrow(a);
      }
      for (int64_t length : {63, 64, 65, 127, 128, 129, 192, 261}) {
        wide({"lengths around the tiles", length + 2, 1, 1, 64, {{1, length, 0, 0}}});
        Attention a = {"lengths around the tiles, windowed", length, 1, 1, 64, {{0, length, 0, 0}}};
        a.window = 64;
        wide(a);
      }
      for (int64_t window : {1, 7, 63, 64, 65, 130, 1000}) {
        Attention a = {"windows", 300, 1, 1, 32, {{0, 100, 0, 0}, {100, 200, 10, 80}}};
        a.window = window;
        wide(a);
      }
      wide({"no sequences", 3, 1, 1, 16, {}});
      wide({"no rows", 0, 1, 1, 16, {{0, 0, 0, 0}}});
      wide({"an empty sequence, rows outside every sequence", 12, 2, 2, 16, {{2, 0, 0, 0}, {3, 5, 0, 0}}});
      wide({"grouped heads, fused q, k and v", 90, 6, 2, 32, kTwo, dtype, true});
      wide({"prefixes of all sizes", 200, 2, 2, 32, kPrefixes});
      wide({"out is q", 200, 2, 2, 64, {{0, 200, 0, 0}}, dtype, false, true});
      wide({"sharp softmax", 150, 1, 1, 64, {{0, 150, 0, 0}}, dtype, false, false, 4});
      Attention negative = {"negative scale", 70, 1, 1, 32, {{0, 70, 0, 0}}};
      negative.scale = -0.5;
      wide(negative);
      Attention many = {"many sequences", 650, 1, 1, 16, {}};
      for (int64_t s = 0; s < 70; s++) many.sequences.push_back({s * 5, s % 6, 0, s % 3});
      many.sequences.push_back({350, 300, 0, 0});
      wide(many);
    }
    for (const int64_t window : {0, 1, 70}) {
      for (const zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) one(cache_of_other_rows(dtype, window));
    }
  }

  // What tensor cores do not take.
  void in_fp32() const {
    const auto bf16_out = [&](Attention a) {
      a.out = ZO2_BF16;
      one(a);
    };
    for (int64_t width : {1, 5, 8, 21, 64, 65, 128, 130, 200, 256}) {
      one({"one row", 1, 1, 1, width, {{0, 1, 0, 0}}});
      one({"a tile of queries and a tail", 70, 2, 1, width, {{1, 66, 0, 0}}});
      Attention a = {"a prefix and a window", 90, 1, 1, width, kPrefix};
      a.window = 33;
      bf16_out(a);
    }
    for (int64_t length : {31, 32, 33, 63, 64, 65, 131})
      one({"lengths around the tiles", length, 1, 1, 16, {{0, length, 0, 0}}});
    for (int64_t window : {1, 7, 32, 33, 100, 1000}) {
      Attention a = {"windows", 250, 1, 1, 8, {{0, 100, 0, 0}, {100, 150, 10, 80}}};
      a.window = window;
      one(a);
    }
    one({"no sequences", 3, 1, 1, 8, {}});
    one({"prefixes of all sizes", 200, 2, 2, 8, kPrefixes});
    one({"grouped heads, fused q, k and v", 90, 6, 2, 8, kTwo, ZO2_F32, true});
    {
      const OpCase::Aligned aligned(16);
      one({"out is q", 100, 2, 2, 24, {{0, 100, 0, 0}}, ZO2_F32, false, true});
      one({"sharp softmax", 150, 1, 1, 64, {{0, 150, 0, 0}}, ZO2_F32, false, false, 4});
      for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
        one({"head size no multiple of 16", 70, 2, 1, 24, {{0, 70, 0, 0}}, dtype});
        Attention a = {"q in another dtype than k and v", 70, 2, 1, 32, {{0, 70, 0, 0}}};
        a.keys = dtype;
        one(a);
      }
      for (const int64_t window : {0, 1, 70}) one(cache_of_other_rows(ZO2_F32, window));
    }
    for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16})
      one({"rows that are not aligned", 70, 2, 1, 32, {{0, 70, 0, 0}}, dtype});
  }

 private:
  static constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES;
  static inline const std::vector<Sequence> kTwo = {{0, 40, 0, 0}, {40, 50, 0, 0}};
  static inline const std::vector<Sequence> kPrefix = {{0, 40, 0, 0}, {40, 50, 0, 37}};
  static inline const std::vector<Sequence> kPrefixes = {
      {0, 90, 0, 0}, {90, 3, 0, 90}, {93, 1, 0, 65}, {94, 60, 10, 64}, {154, 2, 5, 1}};

  struct Operands {
    int out, q, k, v;
  };

  // Of every element of out, and the sum of the magnitudes that its weights multiply, by which a rounding of the
  // weights is to be multiplied.
  struct Reference {
    std::vector<double> values, terms, factors;
  };

  static double scale(const Attention& a) { return a.scale != 0 ? a.scale : 1 / std::sqrt(double(a.width)); }

  // Keys and values in a cache of other rows than q: prompts of several tiles, one with a prefix that its own keys do
  // not follow, and single rows.
  static Attention cache_of_other_rows(zo2_dtype dtype, int64_t window) {
    Attention a = {"a cache", 214, 2, 1, 32, {}, dtype};
    a.sequences = {{0, 100, 0, 0, 150}, {100, 70, 0, 0, 10},  {170, 40, 150, 100, 300},
                   {210, 1, 0, 0, 0},   {211, 1, 10, 70, 80}, {212, 0, 340, 0, 340}};
    a.cache_rows = 340;
    a.window = window;
    a.out = ZO2_F32;
    return a;
  }

  void caches() const {
    for (zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
      for (const int64_t alignment : {0, 64}) {
        const OpCase::Aligned aligned(alignment);
        const auto cached = [&](const char* name, Attention a) {
          a.name = name;
          a.dtype = dtype;
          one(a);
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
        Attention prompts = {"", 240, 2, 1, 64, {}};
        prompts.sequences = {{0, 100, 0, 0, 150}, {100, 70, 0, 0, 10}, {170, 66, 150, 100, 300}, {240, 0, 366, 0, 366}};
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
  }

  static Reference compute(const OpCase& test, const Attention& a, const Operands& o) {
    const int64_t q_cols = a.heads * a.width, kv_cols = a.kv_heads * a.width;
    const std::vector<double> q = test.all_before(o.q), k = test.all_before(o.k), v = test.all_before(o.v);
    Reference found;
    found.values = test.all_before(o.out);
    found.terms.resize(found.values.size());
    found.factors.resize(found.values.size());
    for (const Sequence& s : a.sequences) {
      const int64_t key_start = a.cache_rows > 0 ? s.key_start : s.start;
      for (int64_t i = 0; i < s.length; i++) {
        std::vector<int64_t> keys;
        for (int64_t position = 0; position <= s.prefix_length + i; position++) {
          if (a.window != 0 && position <= s.prefix_length + i - a.window) continue;
          keys.push_back(position < s.prefix_length ? s.prefix_start + position
                                                    : key_start + position - s.prefix_length);
        }
        for (int64_t h = 0; h < a.heads; h++) {
          const int64_t kv = h / (a.heads / a.kv_heads) * a.width;
          std::vector<double> weights;
          double sum = 0, largest = -HUGE_VAL;
          for (int64_t key : keys) {
            double score = 0;
            for (int64_t c = 0; c < a.width; c++)
              score += q[size_t((s.start + i) * q_cols + h * a.width + c)] * k[size_t(key * kv_cols + kv + c)];
            weights.push_back(score * scale(a));
            largest = std::max(largest, weights.back());
          }
          for (double& w : weights) sum += w = std::exp(w - largest);
          for (int64_t c = 0; c < a.width; c++) {
            const size_t at = size_t((s.start + i) * q_cols + h * a.width + c);
            found.values[at] = 0;
            for (size_t j = 0; j < keys.size(); j++) {
              const double factor = v[size_t(keys[j] * kv_cols + kv + c)], term = weights[j] / sum * factor;
              found.values[at] += term;
              found.terms[at] += std::fabs(term);
              found.factors[at] += std::fabs(factor);
            }
          }
        }
      }
    }
    return found;
  }

  static void verify(OpCase& test, const Attention& a, const Operands& o, const Reference& reference) {
    const int64_t q_cols = a.heads * a.width;
    const bool rounds = test.way().rounds_softmax && a.dtype != ZO2_F32;
    const double weight_error = !rounds               ? 0
                                : a.dtype == ZO2_BF16 ? 0x1p-8
                                                      : 0x1p-11,
                 least_weight = rounds && a.dtype == ZO2_F16 ? 0x1p-25 : 0;
    // A score of size s carries an fp32 error of about s 2^-22, which the exponential turns into a relative one.
    const double score = a.size * a.size * double(a.width) * std::fabs(scale(a));
    test.expect(
        o.out, [&](int64_t r, int64_t c) { return reference.values[size_t(r * q_cols + c)]; },
        [&](int64_t r, int64_t c) {
          const size_t at = size_t(r * q_cols + c);
          return 2e-6 + 5e-7 * score + weight_error * reference.terms[at] + least_weight * reference.factors[at];
        });
  }

  const Runner run_;
};

}  // namespace zo2::test
