// linear against a naive double-precision reference; see op_case.h for what every case checks besides.
#include <cmath>

#include "op_case.h"
#include "op_reference.h"

namespace {

using zo2::test::activate;
using zo2::test::dtype_name;
using zo2::test::label;
using zo2::test::OpCase;
using zo2::test::Random;

enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE };
constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

struct Linear {
  int64_t m, n, k;
  zo2_dtype out = ZO2_F32, x = ZO2_F32, weight = ZO2_F32;
  int activation = ZO2_ACTIVATION_NONE;
  bool bias = true;
  enum { kNone, kApart, kInPlace } residual = kNone;
};

void test_linear(const Linear& l) {
  OpCase test(label("linear", l.m, l.n, l.k, l.x, l.weight) + " to " + dtype_name(l.out) + ", activation " +
              std::to_string(l.activation) + (l.bias ? ", bias" : "") +
              (l.residual == Linear::kNone    ? ""
               : l.residual == Linear::kApart ? ", residual"
                                              : ", residual in place"));
  Random random(static_cast<uint64_t>(l.m * 10007 + l.n * 101 + l.k));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(l.m) + 3, static_cast<uint64_t>(l.m));
  const int out = test.operand(C, l.out, kRows, l.n, 5), x = test.operand(T, l.x, kRows, l.k, 3);
  const int weight = test.operand(W, l.weight, l.n, l.k, 1), bias = l.bias ? test.operand(W, ZO2_F32, 1, l.n) : -1;
  const int residual = l.residual == Linear::kNone      ? -1
                       : l.residual == Linear::kInPlace ? out
                                                        : test.operand(C, ZO2_F32, kRows, l.n, 2);
  test.randomise(out, random, 1);
  test.randomise(x, random, 1);
  test.randomise(weight, random, 1);
  if (bias >= 0) test.randomise(bias, random, 1);
  if (residual >= 0) test.randomise(residual, random, 1);
  test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), double(bias), double(residual), double(l.activation)},
          {out});
  test.run([&] {
    std::vector<double> errors(static_cast<size_t>(l.m * l.n)), values(errors.size());
    for (int64_t r = 0; r < l.m; r++) {
      for (int64_t c = 0; c < l.n; c++) {
        double sum = bias >= 0 ? test.get(bias, 0, c) : 0, size = std::fabs(sum);
        for (int64_t k = 0; k < l.k; k++) {
          const double term = test.factor(x, weight, r, k) * test.get(weight, c, k);
          sum += term;
          size += std::fabs(term);
        }
        const double before = residual >= 0 ? test.before(residual, r, c) : 0;
        values[size_t(r * l.n + c)] = activate(l.activation, sum) + before;
        // No activation is steeper than 1.13.
        errors[size_t(r * l.n + c)] = 1e-6 * (size + std::fabs(before)) + 1.13 * test.factor_error(weight) * size;
      }
    }
    test.expect(
        out, [&](int64_t r, int64_t c) { return values[size_t(r * l.n + c)]; },
        [&](int64_t r, int64_t c) { return errors[size_t(r * l.n + c)]; });
  });
}

// What is not finite must reach the loss: no activation may swallow it.
void test_nan() {
  for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
    OpCase test("a NaN passes linear, activation " + std::to_string(activation));
    Random random(5);
    test.symbol(ZO2_SYMBOL_ROWS, 20, 20);
    const int out = test.operand(C, ZO2_F32, kRows, 24), x = test.operand(T, ZO2_F32, kRows, 16),
              weight = test.operand(W, ZO2_F32, 24, 16);
    test.randomise(x, random, 1);
    test.randomise(weight, random, 1);
    test.set(x, 11, 5, std::nan(""));
    test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), -1, -1, double(activation)}, {out});
    test.run([&] {
      bool right = true;
      for (int64_t r = 0; r < 20; r++) {
        for (int64_t c = 0; c < 24; c++) right = right && std::isnan(test.get(out, r, c)) == (r == 11);
      }
      CHECK(right, "%s", test.name().c_str());
    });
  }
}

}  // namespace

int main() {
  // One row, thin products and their limit, tails in every dimension, several chunks, depths around the blocks.
  const int64_t shapes[][3] = {{0, 5, 7},      {1, 1, 1},      {1, 70, 33},   {2, 9, 768},   {3, 16, 17},
                               {4, 65, 8},     {5, 130, 300},  {8, 31, 64},   {9, 17, 9},    {13, 40, 257},
                               {32, 64, 64},   {37, 50, 100},  {48, 16, 256}, {100, 97, 33}, {129, 257, 20},
                               {257, 70, 385}, {300, 33, 513}, {513, 300, 24}};
  for (const auto& s : shapes) {
    test_linear({s[0], s[1], s[2]});
    test_linear({s[0], s[1], s[2], ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_RELU, true, Linear::kInPlace});
    test_linear({s[0], s[1], s[2], ZO2_BF16, ZO2_F16, ZO2_BF16, ZO2_ACTIVATION_GELU, false, Linear::kApart});
  }
  for (zo2_dtype out : kFloats) {
    for (zo2_dtype x : kFloats) {
      for (zo2_dtype weight : kFloats) {
        test_linear({6, 20, 41, out, x, weight, ZO2_ACTIVATION_NONE, true, Linear::kApart});
        test_linear({70, 90, 400, out, x, weight, ZO2_ACTIVATION_RELU, true, Linear::kInPlace});
      }
    }
  }
  // Around the tiles of every kernel, one dimension at a time.
  for (int64_t tile : {16, 32, 64, 128}) {
    for (int64_t size : {tile - 1, tile, tile + 1, 2 * tile + 5}) {
      test_linear({size, 40, 24, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, true, Linear::kApart});
      test_linear({size, 40, 24, ZO2_BF16, ZO2_BF16, ZO2_BF16, ZO2_ACTIVATION_RELU, true});
      test_linear({20, size, 24, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, true, Linear::kInPlace});
      test_linear({20, size, 24, ZO2_F32, ZO2_F16, ZO2_F16, ZO2_ACTIVATION_GELU, true, Linear::kInPlace});
      test_linear({20, 40, size, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, false});
      test_linear({20, 40, size, ZO2_F32, ZO2_F32, ZO2_F16, ZO2_ACTIVATION_NONE, false, Linear::kApart});
    }
  }
  const OpCase::Aligned aligned;
  for (zo2_dtype dtype : kFloats) {
    for (zo2_dtype x : {dtype, ZO2_F32}) {
      test_linear({1, 70, 64, ZO2_F32, x, dtype});
      test_linear({70, 136, 64, ZO2_F32, x, dtype, ZO2_ACTIVATION_NONE, true, Linear::kInPlace});
      test_linear({129, 261, 90, dtype, x, dtype, ZO2_ACTIVATION_SILU, true, Linear::kNone});
      test_linear({300, 128, 200, ZO2_F32, x, dtype, ZO2_ACTIVATION_NONE, false, Linear::kApart});
      test_linear({65, 259, 33, ZO2_F32, x, dtype, ZO2_ACTIVATION_RELU, true, Linear::kApart});
    }
  }
  for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
    test_linear({33, 70, 64, ZO2_F32, ZO2_F16, ZO2_F16, activation, true, Linear::kApart});
    test_linear({17, 31, 50, ZO2_F32, ZO2_F32, ZO2_F32, activation});
  }
  test_nan();
  return zo2::test::report();
}
