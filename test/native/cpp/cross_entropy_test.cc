// crossEntropy against a naive double-precision log-softmax; see op_case.h for what every case checks besides.
#include <algorithm>
#include <cmath>

#include "op_case.h"

namespace {

using zo2::test::dtype_name;
using zo2::test::OpCase;
using zo2::test::Random;

constexpr int kHeadRows = -1 - ZO2_SYMBOL_HEAD_ROWS, kTargets = -1 - ZO2_SYMBOL_TARGETS;

struct Case {
  int64_t rows, targets, vocabulary, depth, tile;  // tile: vocabulary entries per op
  zo2_dtype x = ZO2_F32, weight = ZO2_F32;
  double size = 1;
};

struct Operands {
  int logprob, state, x, targets;
  std::vector<int> tiles;
};

Operands declare(OpCase& test, const Case& c) {
  test.symbol(ZO2_SYMBOL_HEAD_ROWS, static_cast<uint64_t>(c.rows) + 3, static_cast<uint64_t>(c.rows));
  test.symbol(ZO2_SYMBOL_TARGETS, static_cast<uint64_t>(c.targets) + 2, static_cast<uint64_t>(c.targets));
  Operands o;
  o.logprob = test.operand(ZO2_SPACE_RESULTS, ZO2_F32, kTargets, 1, 1);
  o.state = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kHeadRows, 2, 1);
  o.x = test.operand(ZO2_SPACE_WORKSPACE, c.x, kHeadRows, c.depth, 2);
  o.targets = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kTargets, 2);
  for (int64_t start = 0; start < c.vocabulary; start += c.tile) {
    const int64_t n = std::min(c.tile, c.vocabulary - start);
    o.tiles.push_back(test.operand(ZO2_SPACE_WEIGHTS, c.weight, n, c.depth, 1));
    const int flags = (start == 0 ? ZO2_TILE_FIRST : 0) | (start + n == c.vocabulary ? ZO2_TILE_LAST : 0);
    test.op(ZO2_OP_CROSS_ENTROPY,
            {double(o.logprob), double(o.state), double(o.x), double(o.tiles.back()), double(o.targets), double(start),
             double(flags)},
            {o.logprob, o.state});
  }
  return o;
}

void test_log_softmax(const Case& c) {
  char name[160];
  snprintf(name, sizeof name,
           "crossEntropy: %lld rows, %lld targets, vocabulary %lld in tiles of %lld, depth %lld, %s x %s",
           static_cast<long long>(c.rows), static_cast<long long>(c.targets), static_cast<long long>(c.vocabulary),
           static_cast<long long>(c.tile), static_cast<long long>(c.depth), dtype_name(c.x), dtype_name(c.weight));
  OpCase test(name);
  const Operands o = declare(test, c);
  Random random(static_cast<uint64_t>(c.rows * 7 + c.vocabulary));
  test.randomise(o.x, random, c.size);
  for (int tile : o.tiles) test.randomise(tile, random, 1);
  for (int64_t t = 0; t < c.targets; t++) {
    // Some ignored, whose row is not looked at; some outside the vocabulary; several on one row.
    const bool ignored = t % 5 == 3;
    test.set(o.targets, t, 0, ignored ? -1 : double(random.below(c.rows)));
    test.set(o.targets, t, 1,
             ignored       ? -100
             : t % 11 == 7 ? double(c.vocabulary + t)
                           : double(t == 0 ? c.vocabulary - 1 : random.below(c.vocabulary)));
  }
  test.run([&] {
    std::vector<double> largest(size_t(c.rows), -HUGE_VAL), sum(size_t(c.rows)), logits(size_t(c.rows * c.vocabulary));
    const double factor_error = test.factor_error(o.tiles[0]);
    double rounding = 0;  // the largest error of a logit by the rounding of its factors
    for (int64_t r = 0; r < c.rows; r++) {
      double* row = logits.data() + r * c.vocabulary;
      for (int64_t n = 0; n < c.vocabulary; n++) {
        const int tile = o.tiles[size_t(n / c.tile)];
        double size = 0;
        for (int64_t k = 0; k < c.depth; k++) {
          const double term = test.factor(o.x, tile, r, k) * test.get(tile, n % c.tile, k);
          row[n] += term;
          size += std::fabs(term);
        }
        rounding = std::max(rounding, size * factor_error);
        largest[size_t(r)] = std::max(largest[size_t(r)], row[n]);
      }
      for (int64_t n = 0; n < c.vocabulary; n++) sum[size_t(r)] += std::exp(row[n] - largest[size_t(r)]);
    }
    // A logit's error moves its own log-probability and the sum.
    const double error = 1e-6 * (1 + c.size * std::sqrt(double(c.depth))) + 2 * rounding;
    test.expect(
        o.logprob,
        [&](int64_t t, int64_t) {
          const int64_t row = static_cast<int64_t>(test.get(o.targets, t, 0)),
                        entry = static_cast<int64_t>(test.get(o.targets, t, 1));
          if (entry == -100) return 0.0;
          if (entry >= c.vocabulary) return std::nan("");
          return logits[size_t(row * c.vocabulary + entry)] - largest[size_t(row)] - std::log(sum[size_t(row)]);
        },
        [&](int64_t, int64_t) { return error; });
    test.expect(
        o.state, [&](int64_t r, int64_t column) { return column == 0 ? largest[size_t(r)] : sum[size_t(r)]; },
        [&](int64_t r, int64_t column) { return error * (column == 0 ? 1 : sum[size_t(r)]); });
  });
}

// After a tile that is not the last: NaN where the target's tile was not seen, the state ready for the next tile.
void test_unfinished() {
  OpCase test("crossEntropy before the last tile");
  Random random(2);
  const Case c = {4, 4, 30, 8, 10};
  const Operands o = declare(test, c);
  test.randomise(o.x, random, 1);
  for (int tile : o.tiles) test.randomise(tile, random, 1);
  for (int64_t t = 0; t < 4; t++) {
    test.set(o.targets, t, 0, double(t));
    test.set(o.targets, t, 1, double(t) * 10);
  }
  // Again, with the first two of the three tiles only.
  OpCase two("crossEntropy after two of three tiles");
  two.symbol(ZO2_SYMBOL_HEAD_ROWS, 4, 4);
  two.symbol(ZO2_SYMBOL_TARGETS, 4, 4);
  const int logprob = two.operand(ZO2_SPACE_RESULTS, ZO2_F32, kTargets, 1),
            state = two.operand(ZO2_SPACE_CARRIED, ZO2_F32, kHeadRows, 2);
  const int x = two.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kHeadRows, 8),
            targets = two.operand(ZO2_SPACE_INPUTS, ZO2_I32, kTargets, 2);
  for (int i = 0; i < 2; i++) {
    const int tile = two.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 10, 8);
    for (int64_t r = 0; r < 10; r++) {
      for (int64_t k = 0; k < 8; k++) two.set(tile, r, k, test.get(o.tiles[size_t(i)], r, k));
    }
    two.op(ZO2_OP_CROSS_ENTROPY,
           {double(logprob), double(state), double(x), double(tile), double(targets), double(i * 10),
            double(i == 0 ? ZO2_TILE_FIRST : 0)},
           {logprob, state});
  }
  for (int64_t r = 0; r < 4; r++) {
    for (int64_t k = 0; k < 8; k++) two.set(x, r, k, test.get(o.x, r, k));
    for (int64_t k = 0; k < 2; k++) two.set(targets, r, k, test.get(o.targets, r, k));
  }
  two.run([&] {
    CHECK(!std::isnan(two.get(logprob, 0, 0)) && !std::isnan(two.get(logprob, 1, 0)),
          "targets of the tiles that were seen have a value");
    CHECK(std::isnan(two.get(logprob, 2, 0)) && std::isnan(two.get(logprob, 3, 0)),
          "targets of the tile that was not seen are NaN");
  });
  test.run([&] {
    CHECK(std::isnan(test.get(o.logprob, 3, 0)), "a target in no tile is NaN at the end");
    CHECK(!std::isnan(test.get(o.logprob, 2, 0)), "a target of the last tile has a value");
  });
}

void test_not_finite() {
  OpCase test("a NaN in x makes its row's log-probability NaN and no other");
  Random random(4);
  const Case c = {20, 20, 300, 16, 300};
  const Operands o = declare(test, c);
  test.randomise(o.x, random, 1);
  test.randomise(o.tiles[0], random, 1);
  test.set(o.x, 13, 3, std::nan(""));
  for (int64_t t = 0; t < 20; t++) {
    test.set(o.targets, t, 0, double(t));
    test.set(o.targets, t, 1, double(t));
  }
  test.run([&] {
    bool right = true;
    for (int64_t t = 0; t < 20; t++) right = right && std::isnan(test.get(o.logprob, t, 0)) == (t == 13);
    CHECK(right, "%s", test.name().c_str());
  });
}

void test_bad_target() {
  OpCase test("a target that names no row");
  Random random(6);
  const Case c = {4, 3, 20, 8, 20};
  const Operands o = declare(test, c);
  test.randomise(o.x, random, 1);
  test.randomise(o.tiles[0], random, 1);
  for (int64_t t = 0; t < 3; t++) {
    // Row 4 exists at the maximum, not in this run.
    test.set(o.targets, t, 0, t == 2 ? 4 : 0);
    test.set(o.targets, t, 1, 1);
  }
  test.run_refused("target 2 names row 4");
}

}  // namespace

int main() {
  for (int64_t rows : {1, 8, 9, 40}) {
    test_log_softmax({rows, 30, 77, 20, 77});
    test_log_softmax({rows, 30, 77, 20, 13});
  }
  test_log_softmax({3, 0, 50, 8, 50});
  test_log_softmax({300, 320, 1300, 16, 1300});
  test_log_softmax({12, 25, 2500, 33, 2500});
  test_log_softmax({12, 25, 2500, 33, 1100, ZO2_F32, ZO2_F32, 8});
  for (zo2_dtype x : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    for (zo2_dtype weight : {ZO2_F32, ZO2_F16, ZO2_BF16}) test_log_softmax({20, 21, 600, 40, 256, x, weight});
  }
  // Around the tiles of kernels: rows, vocabulary, depth.
  for (int64_t tile : {16, 32, 64, 128}) {
    for (int64_t size : {tile - 1, tile, tile + 1, 2 * tile + 5}) {
      test_log_softmax({size, 40, 70, 24, 70, ZO2_F32, ZO2_BF16});
      test_log_softmax({10, 20, size, 24, size});
      test_log_softmax({10, 20, 70, size, 40, ZO2_F16, ZO2_F16});
    }
  }
  {
    const OpCase::Aligned aligned;
    for (zo2_dtype weight : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
      test_log_softmax({70, 90, 700, 64, 300, weight, weight});
      test_log_softmax({33, 40, 520, 90, 520, ZO2_F32, weight});
    }
  }
  test_unfinished();
  test_not_finite();
  test_bad_target();
  return zo2::test::report();
}
