// Cases of crossEntropy against a naive double-precision log-softmax; see op_case.h for what every case checks besides.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "op_case.h"

namespace zo2::test {

struct CrossEntropy {
  int64_t rows, targets;
  std::vector<int64_t> tiles;  // vocabulary entries of each op
  int64_t depth;
  zo2_dtype x = ZO2_F32, weight = ZO2_F32;
  double size = 1;           // of x
  bool every_other = false;  // targets name even rows and the last one alone

  int64_t vocabulary() const {
    int64_t sum = 0;
    for (const int64_t n : tiles) sum += n;
    return sum;
  }
};

// `vocabulary` entries in tiles of `most`.
inline std::vector<int64_t> cut(int64_t vocabulary, int64_t most) {
  std::vector<int64_t> tiles;
  for (int64_t start = 0; start < vocabulary; start += most) tiles.push_back(std::min(most, vocabulary - start));
  return tiles;
}

class CrossEntropyCases {
 public:
  explicit CrossEntropyCases(Runner run) : run_(std::move(run)) {}

  struct Operands {
    int logprob, state, x, targets;
    std::vector<int> tiles;
  };

  static Operands declare(OpCase& test, const CrossEntropy& c) {
    test.symbol(ZO2_SYMBOL_HEAD_ROWS, static_cast<uint64_t>(c.rows) + 3, static_cast<uint64_t>(c.rows));
    test.symbol(ZO2_SYMBOL_TARGETS, static_cast<uint64_t>(c.targets) + 2, static_cast<uint64_t>(c.targets));
    Operands o;
    o.logprob = test.operand(ZO2_SPACE_RESULTS, ZO2_F32, kTargets, 1, 1);
    o.state = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kHeadRows, 2, 1);
    o.x = test.operand(ZO2_SPACE_WORKSPACE, c.x, kHeadRows, c.depth, 2);
    o.targets = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kTargets, 2, 1);
    int64_t start = 0;
    for (size_t i = 0; i < c.tiles.size(); i++) {
      o.tiles.push_back(test.operand(ZO2_SPACE_WEIGHTS, c.weight, c.tiles[i], c.depth, 1));
      const int flags = (i == 0 ? ZO2_TILE_FIRST : 0) | (i + 1 == c.tiles.size() ? ZO2_TILE_LAST : 0);
      test.op(ZO2_OP_CROSS_ENTROPY,
              {double(o.logprob), double(o.state), double(o.x), double(o.tiles.back()), double(o.targets),
               double(start), double(flags)},
              {o.logprob, o.state});
      start += c.tiles[i];
    }
    return o;
  }

  void one(const CrossEntropy& c) const {
    char name[200];
    snprintf(name, sizeof name,
             "crossEntropy: %lld rows, %lld targets, vocabulary %lld in %zu tiles of %lld .., depth %lld, %s x %s",
             static_cast<long long>(c.rows), static_cast<long long>(c.targets), static_cast<long long>(c.vocabulary()),
             c.tiles.size(), static_cast<long long>(c.tiles[0]), static_cast<long long>(c.depth), dtype_name(c.x),
             dtype_name(c.weight));
    OpCase test(name);
    const Operands o = declare(test, c);
    const int64_t vocabulary = c.vocabulary();
    Random random(static_cast<uint64_t>(c.rows * 7 + vocabulary));
    test.randomise(o.x, random, c.size);
    for (int tile : o.tiles) test.randomise(tile, random, 1);
    for (int64_t t = 0; t < c.targets; t++) {
      // Some ignored, whose row is not looked at; some outside the vocabulary; several on one row.
      const bool ignored = t % 5 == 3 || c.rows == 0;
      const int64_t row = c.rows == 0 ? 0 : random.below(c.rows),
                    entry = vocabulary == 0 ? 0 : random.below(vocabulary);
      const int64_t chosen = !c.every_other ? row : t == 1 ? c.rows - 1 : row / 2 * 2;
      test.set(o.targets, t, 0, ignored ? (t % 2 == 0 ? -1 : double(row)) : double(chosen));
      test.set(o.targets, t, 1,
               ignored       ? -100
               : t % 11 == 7 ? double(vocabulary + t - 7)
                             : double(t == 0 ? vocabulary - 1 : entry));
    }
    run_(test, [&] { verify(test, c, o); });
  }

  // Tails in rows, vocabulary and depth, every pair of dtypes, aligned and not.
  void all() const {
    for (int64_t rows : {1, 8, 9, 40}) {
      one({rows, 30, {77}, 20});
      one({rows, 30, cut(77, 13), 20});
    }
    one({3, 0, {50}, 50});
    one({300, 320, {1300}, 16});
    one({12, 25, {2500}, 33});
    one({12, 25, cut(2500, 1100), 33, ZO2_F32, ZO2_F32, 8});
    for (zo2_dtype x : kFloats) {
      for (zo2_dtype weight : kFloats) one({20, 21, cut(600, 256), 40, x, weight});
    }
    // Around the tiles of kernels: rows, vocabulary, depth.
    for (int64_t tile : {16, 32, 64, 128}) {
      for (int64_t size : {tile - 1, tile, tile + 1, 2 * tile + 5}) {
        one({size, 40, {70}, 24, ZO2_F32, ZO2_BF16});
        one({10, 20, {size}, 24});
        one({10, 20, cut(70, 40), size, ZO2_F16, ZO2_F16});
      }
    }
    const OpCase::Aligned aligned;
    for (zo2_dtype weight : kFloats) {
      one({70, 90, cut(700, 300), 64, weight, weight});
      one({33, 40, {520}, 90, ZO2_F32, weight});
    }
  }

  // Rows and vocabularies that fill many tiles of a kernel, or one in part; rows without a target.
  void walks() const {
    for (const int64_t alignment : {16, 0}) {
      const OpCase::Aligned aligned(alignment);
      const auto of = [&](int64_t rows, int64_t depth, std::vector<int64_t> tiles, zo2_dtype dtype = ZO2_BF16) {
        one({rows, rows + 5, std::move(tiles), depth, dtype, dtype, 1, true});
      };
      of(1, 33, {1});
      of(64, 40, {700});
      of(65, 70, {129});
      of(261, 24, {900});
      of(63, 31, {127, 128, 130});
      of(129, 64, {64, 1, 513}, ZO2_F32);
    }
  }

  // Every pair of dtypes with few rows and with more than the smaller tile of kernels has.
  void dtypes() const {
    for (const zo2_dtype x : kFloats) {
      for (const zo2_dtype weight : kFloats) {
        for (const int64_t alignment : {16, 0, 64}) {
          const OpCase::Aligned aligned(alignment);
          for (const int64_t rows : {20, 90}) one({rows, rows + 7, {150, 70}, 48, x, weight, 1, true});
        }
      }
    }
  }

  // Logits whose exponentials overflow and vanish.
  void extremes() const { one({70, 80, {300, 200}, 64, ZO2_F32, ZO2_F32, 300}); }

  // For the head of Hopper, which takes more than 64 rows of 16-bit operands in aligned rows: tails of its tiles,
  // slices with both widths of them, and logits whose exponentials overflow and vanish.
  void hopper() const {
    const OpCase::Aligned aligned(16);
    const auto bf16 = [&](int64_t rows, int64_t depth, std::vector<int64_t> tiles, double size = 1) {
      one({rows, rows + 9, std::move(tiles), depth, ZO2_BF16, ZO2_BF16, size, true});
    };
    for (const int64_t rows : {65, 72, 127, 128, 129, 300}) bf16(rows, 40, {300});
    for (const int64_t vocabulary : {1, 7, 127, 128, 129, 255, 256, 257, 511, 1031}) bf16(70, 24, {vocabulary});
    for (const int64_t depth : {1, 8, 63, 64, 65, 130, 520}) bf16(66, depth, {190});
    for (const zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
      one({140, 200, {333}, 72, dtype, dtype});
      one({140, 200, cut(701, 233), 72, dtype, dtype, 1, true});
      one({90, 100, {256, 1, 300, 128, 5}, 136, dtype, dtype});
    }
    bf16(70, 64, {300, 200}, 300);
    not_a_number(90, ZO2_BF16);
    minus_infinity(90, ZO2_BF16);
    {
      const OpCase::Aligned apart(64);  // rows further apart than they are long
      bf16(100, 72, {310, 90});
    }
  }

  // More splits than one, several tiles in each, the ring's rounds across tiles, and more blocks than multiprocessors.
  void hopper_walks() const {
    const OpCase::Aligned aligned(16);
    for (const CrossEntropy& c : {CrossEntropy{261, 270, {2900}, 16}, CrossEntropy{130, 140, {700, 900}, 328},
                                  CrossEntropy{1000, 300, {260}, 24}}) {
      CrossEntropy in_bf16 = c;
      in_bf16.x = in_bf16.weight = ZO2_BF16;
      one(in_bf16);
    }
  }

  // What no program holds: matrices without columns.
  void empty() const {
    one({5, 9, {70}, 0, ZO2_BF16, ZO2_BF16});
    one({0, 5, {70}, 8, ZO2_BF16, ZO2_BF16});
    one({3, 6, {0, 9, 0}, 8, ZO2_BF16, ZO2_BF16});
  }

  void not_a_number(int64_t rows = 20, zo2_dtype dtype = ZO2_F32) const {
    OpCase test("a NaN in x makes its row's log-probability NaN and no other");
    const Operands o = one_target_a_row(test, rows, dtype);
    test.set(o.x, 13, 3, std::nan(""));
    run_(test, [&] {
      bool right = true;
      for (int64_t t = 0; t < rows; t++) right = right && std::isnan(test.get(o.logprob, t, 0)) == (t == 13);
      CHECK(right, "%s", test.name().c_str());
    });
  }

  // Entries that no row can take; of the second slice, all.
  void minus_infinity(int64_t rows = 20, zo2_dtype dtype = ZO2_F32) const {
    OpCase test("a logit of -infinity counts as none");
    const Operands o = one_target_a_row(test, rows, dtype);
    for (int64_t r = 0; r < rows; r++) test.set(o.x, r, 0, 1);
    const auto taken = [](int64_t entry) { return entry < 300 && entry % 3 != 1; };
    for (int64_t entry = 0; entry < 340; entry++) {
      if (!taken(entry)) test.set(o.tiles[entry < 300 ? 0 : 1], entry < 300 ? entry : entry - 300, 0, -INFINITY);
    }
    run_(test, [&] {
      bool right = true;
      for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t entry = 0; entry < 300; entry++) {
          double logit = 0;
          for (int64_t k = 0; k < 16; k++)
            logit += test.factor(o.x, o.tiles[0], r, k) * test.factor(o.tiles[0], o.tiles[0], entry, k);
          sum += std::exp(logit);
        }
        const double got = test.get(o.logprob, r, 0);
        const double whole = std::log(test.get(o.state, r, 1)) + test.get(o.state, r, 0);
        right = right && std::fabs(whole - std::log(sum)) < 1e-5 + 16 * test.factor_error(o.tiles[0]) &&
                (taken(r) ? std::isfinite(got) : got == -INFINITY);
      }
      CHECK(right, "%s, %s", test.name().c_str(), test.way().name.c_str());
    });
  }

 private:
  static constexpr int kHeadRows = -1 - ZO2_SYMBOL_HEAD_ROWS, kTargets = -1 - ZO2_SYMBOL_TARGETS;
  static constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

  // Slices of 300 and 40 entries; row t is to predict entry t.
  static Operands one_target_a_row(OpCase& test, int64_t rows, zo2_dtype dtype) {
    Random random(4);
    const Operands o = declare(test, {rows, rows, {300, 40}, 16, dtype, dtype});
    test.randomise(o.x, random, 1);
    for (const int tile : o.tiles) test.randomise(tile, random, 1);
    for (int64_t t = 0; t < rows; t++) {
      test.set(o.targets, t, 0, double(t));
      test.set(o.targets, t, 1, double(t));
    }
    return o;
  }

  static void verify(OpCase& test, const CrossEntropy& c, const Operands& o) {
    const int64_t vocabulary = c.vocabulary();
    std::vector<double> largest(size_t(c.rows), -HUGE_VAL), sum(size_t(c.rows)), logits(size_t(c.rows * vocabulary));
    const double factor_error = test.factor_error(o.tiles[0]);
    double rounding = 0;  // the largest error of a logit by the rounding of its factors
    const std::vector<double> xs = test.factors(o.x, o.tiles[0]);
    std::vector<double> weights;
    for (const int tile : o.tiles) {
      const std::vector<double> more = test.factors(tile, tile);
      weights.insert(weights.end(), more.begin(), more.end());
    }
    for (int64_t r = 0; r < c.rows; r++) {
      double* const row = logits.data() + r * vocabulary;
      for (int64_t n = 0; n < vocabulary; n++) {
        double size = 0;
        for (int64_t k = 0; k < c.depth; k++) {
          const double term = xs[size_t(r * c.depth + k)] * weights[size_t(n * c.depth + k)];
          row[n] += term;
          size += std::fabs(term);
        }
        rounding = std::max(rounding, size * factor_error);
        largest[size_t(r)] = std::max(largest[size_t(r)], row[n]);
      }
      for (int64_t n = 0; n < vocabulary; n++) sum[size_t(r)] += std::exp(row[n] - largest[size_t(r)]);
    }
    // A logit's error moves its own log-probability and the sum.
    const double error = 1e-6 * (1 + c.size * std::sqrt(double(c.depth))) + 2 * rounding;
    test.expect(
        o.logprob,
        [&](int64_t t, int64_t) {
          const int64_t row = static_cast<int64_t>(test.get(o.targets, t, 0)),
                        entry = static_cast<int64_t>(test.get(o.targets, t, 1));
          if (entry == -100) return 0.0;
          if (entry >= vocabulary) return std::nan("");
          return logits[size_t(row * vocabulary + entry)] - largest[size_t(row)] - std::log(sum[size_t(row)]);
        },
        [&](int64_t, int64_t) { return error; });
    test.expect(
        o.state, [&](int64_t r, int64_t column) { return column == 0 ? largest[size_t(r)] : sum[size_t(r)]; },
        [&](int64_t r, int64_t column) { return error * (column == 0 ? 1 : sum[size_t(r)]); });
  }

  const Runner run_;
};

}  // namespace zo2::test
