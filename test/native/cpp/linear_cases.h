// Cases of linear against a naive double-precision reference; see op_case.h for what every case checks besides.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "activations.h"
#include "op_case.h"

namespace zo2::test {

struct Linear {
  int64_t m, n, k;
  zo2_dtype out = ZO2_F32, x = ZO2_F32, weight = ZO2_F32;
  int activation = ZO2_ACTIVATION_NONE;
  bool bias = true;
  enum Residual { kNone, kApart, kInPlace } residual = kNone;
  // Eighths: small multiples of 1/8, whose sums fp32 holds exactly in any order, so that every element must have the
  // bits of the reference. Nudged: the same, of fp32 operands moved a little so that a product which truncates, or does
  // not round, is seen.
  enum Values { kReal, kEighths, kNudged } values = kReal;
  zo2_dtype bias_dtype = ZO2_F32, residual_dtype = ZO2_F32;
  bool odd_out = false;  // out is not aligned, whatever the others are
  double scale = 1;
  bool inner = false;
};

class LinearCases {
 public:
  explicit LinearCases(Runner run) : run_(std::move(run)) {}

  void one(const Linear& l) const {
    OpCase test(name_of(l));
    Random random(static_cast<uint64_t>(l.m * 10007 + l.n * 101 + l.k));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(l.m) + 3, static_cast<uint64_t>(l.m));
    const int out = test.operand(C, l.out, kRows, l.n, 5, l.odd_out), x = test.operand(T, l.x, kRows, l.k, 3);
    const int weight = test.operand(W, l.weight, l.n, l.k, 1),
              bias = l.bias ? test.operand(W, l.bias_dtype, 1, l.n) : -1;
    const int residual = l.residual == Linear::kNone      ? -1
                         : l.residual == Linear::kInPlace ? out
                                                          : test.operand(C, l.residual_dtype, kRows, l.n, 2);
    for (const int operand : {out, x, weight, bias, residual}) {
      if (operand >= 0) draw(test, operand, random, l.values, operand == x || operand == weight);
    }
    test.op(ZO2_OP_LINEAR,
            {double(out), double(x), double(weight), double(bias), double(residual), double(l.activation), l.scale,
             double(l.inner)},
            {out});
    run_(test, [&] { verify(test, l, out, x, weight, bias, residual); });
  }

  // Shapes, dtypes and alignments as models have them, and around the tiles of every kernel.
  void all() const {
    // One row, thin products and their limit, tails in every dimension, several chunks, depths around the blocks.
    const int64_t shapes[][3] = {{0, 5, 7},      {1, 1, 1},      {1, 70, 33},   {2, 9, 768},   {3, 16, 17},
                                 {4, 65, 8},     {5, 130, 300},  {8, 31, 64},   {9, 17, 9},    {13, 40, 257},
                                 {32, 64, 64},   {37, 50, 100},  {48, 16, 256}, {100, 97, 33}, {129, 257, 20},
                                 {257, 70, 385}, {300, 33, 513}, {513, 300, 24}};
    for (const auto& s : shapes) {
      one({s[0], s[1], s[2]});
      one({s[0], s[1], s[2], ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_RELU, true, Linear::kInPlace});
      one({s[0], s[1], s[2], ZO2_BF16, ZO2_F16, ZO2_BF16, ZO2_ACTIVATION_GELU, false, Linear::kApart});
    }
    for (zo2_dtype out : kFloats) {
      for (zo2_dtype x : kFloats) {
        for (zo2_dtype weight : kFloats) {
          one({6, 20, 41, out, x, weight, ZO2_ACTIVATION_NONE, true, Linear::kApart});
          one({70, 90, 400, out, x, weight, ZO2_ACTIVATION_RELU, true, Linear::kInPlace});
        }
      }
    }
    for (int64_t tile : {16, 32, 64, 128}) {
      for (int64_t size : {tile - 1, tile, tile + 1, 2 * tile + 5}) {
        one({size, 40, 24, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, true, Linear::kApart});
        one({size, 40, 24, ZO2_BF16, ZO2_BF16, ZO2_BF16, ZO2_ACTIVATION_RELU, true});
        one({20, size, 24, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, true, Linear::kInPlace});
        one({20, size, 24, ZO2_F32, ZO2_F16, ZO2_F16, ZO2_ACTIVATION_GELU, true, Linear::kInPlace});
        one({20, 40, size, ZO2_F32, ZO2_F32, ZO2_F32, ZO2_ACTIVATION_NONE, false});
        one({20, 40, size, ZO2_F32, ZO2_F32, ZO2_F16, ZO2_ACTIVATION_NONE, false, Linear::kApart});
      }
    }
    const OpCase::Aligned aligned;
    for (zo2_dtype dtype : kFloats) {
      for (zo2_dtype x : {dtype, ZO2_F32}) {
        one({1, 70, 64, ZO2_F32, x, dtype});
        one({70, 136, 64, ZO2_F32, x, dtype, ZO2_ACTIVATION_NONE, true, Linear::kInPlace});
        one({129, 261, 90, dtype, x, dtype, ZO2_ACTIVATION_SILU, true, Linear::kNone});
        one({300, 128, 200, ZO2_F32, x, dtype, ZO2_ACTIVATION_NONE, false, Linear::kApart});
        one({65, 259, 33, ZO2_F32, x, dtype, ZO2_ACTIVATION_RELU, true, Linear::kApart});
      }
    }
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      one({33, 70, 64, ZO2_F32, ZO2_F16, ZO2_F16, activation, true, Linear::kApart});
      one({17, 31, 50, ZO2_F32, ZO2_F32, ZO2_F32, activation});
    }
  }

  // Exact sums with tails in every dimension, for tiles of tensor cores and every way into shared memory: both operands
  // by cp.async, x converted, both in registers.
  void tiles() const {
    for (const auto& s : kTileShapes) {
      for (const bool odd_out : {false, true}) {
        const OpCase::Aligned aligned;
        Linear l{s[0], s[1], s[2], ZO2_F32, ZO2_BF16, ZO2_BF16};
        l.values = Linear::kEighths;
        l.odd_out = odd_out;
        one(l);
        l.values = Linear::kNudged;
        l.x = ZO2_F32;
        one(l);
        l.weight = ZO2_F32;
        one(l);
      }
      Linear l{s[0], s[1], s[2], ZO2_F32, ZO2_BF16, ZO2_BF16};
      l.values = Linear::kEighths;
      one(l);
    }
    // Large enough for the larger tile on one multiprocessor, and in several groups of rows of tiles.
    Linear l{64 * 8 + 3, 130, 20, ZO2_F32, ZO2_BF16, ZO2_BF16};
    l.values = Linear::kEighths;
    one(l);
  }

  // The same shapes in fp32.
  void tiles_in_fp32() const {
    for (const auto& s : kTileShapes) {
      Linear l{s[0], s[1], s[2]};
      l.values = Linear::kEighths;
      one(l);
    }
  }

  // Exact sums with every mixture of dtypes, aligned and not. `tf32`: those whose products may be in tf32.
  void dtypes(bool tf32) const {
    int number = 0;
    for (const zo2_dtype x : kFloats) {
      for (const zo2_dtype weight : kFloats) {
        if (tf32 && weight != ZO2_F32) continue;
        for (const zo2_dtype out : kFloats) {
          for (const int64_t alignment : {16, 0, 64}) {
            const OpCase::Aligned aligned(alignment);
            Linear l{70, 72, 48, out, x, weight};
            l.bias_dtype = kFloats[number % 3];
            l.residual = static_cast<Linear::Residual>(number / 3 % 3);
            l.residual_dtype = kFloats[number / 9 % 3];
            if (l.residual == Linear::kInPlace) l.out = l.residual_dtype;
            l.bias = number % 4 != 0;
            l.activation = number % 2 == 0 ? ZO2_ACTIVATION_NONE : ZO2_ACTIVATION_RELU;
            l.values = x == ZO2_F32 && (tf32 || weight != ZO2_F32) ? Linear::kNudged : Linear::kEighths;
            one(l);
            number++;
          }
        }
      }
    }
  }

  // Every activation behind a residual. `tf32`: those whose products may be in tf32.
  void activations(bool tf32) const {
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      for (const zo2_dtype weight : kFloats) {
        if (tf32 && weight != ZO2_F32) continue;
        one({67, 37, 83, kFloats[activation % 3], ZO2_F32, weight, activation, true, Linear::kApart});
      }
    }
  }

  // A scale, and the residual on either side of the activation. `tf32`: those whose products may be in tf32.
  void ends(bool tf32) const {
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      for (const zo2_dtype weight : kFloats) {
        if (tf32 && weight != ZO2_F32) continue;
        for (const bool inner : {false, true}) {
          for (const double scale : {1.0, 0.5, -2.0, 0.3}) {
            Linear l{67, 37, 24, ZO2_F32, ZO2_F32, weight, activation, scale > 0, Linear::kApart};
            if (scale == 0.5) l.residual = Linear::kInPlace;
            if (scale != 0.3) l.values = Linear::kEighths;
            l.scale = scale;
            l.inner = inner;
            one(l);
          }
        }
      }
    }
    // Without a residual there is nothing to add on either side.
    Linear l{9, 70, 40};
    l.scale = 4;
    l.inner = true;
    one(l);
  }

  // What no program holds: matrices without columns.
  void empty(zo2_dtype dtype) const {
    Linear l{0, 5, 8, ZO2_F32, dtype, dtype};
    l.values = Linear::kEighths;
    one(l);
    l.m = 5, l.n = 0;
    one(l);
    l.n = 7, l.k = 0, l.residual = Linear::kApart;
    one(l);
  }

  // For the product of Hopper, which takes 16-bit operands with aligned rows: tails of its tiles, and what it stores.
  void hopper() const {
    const OpCase::Aligned aligned(16);
    const auto exact = [&](Linear l) {
      l.values = Linear::kEighths;
      one(l);
    };
    const auto bf16 = [](int64_t m, int64_t n, int64_t k) {
      return Linear{m, n, k, ZO2_F32, ZO2_BF16, ZO2_BF16, ZO2_ACTIVATION_NONE, false};
    };
    for (const int64_t m : {1, 127, 128, 129, 300}) exact(bf16(m, 136, 72));
    for (const int64_t n : {1, 127, 128, 129, 255, 256, 257, 520}) exact(bf16(65, n, 40));
    for (const int64_t k : {1, 8, 15, 63, 64, 65, 130, 700}) exact(bf16(70, 72, k));
    for (const zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
      for (const zo2_dtype out : {ZO2_F32, dtype}) {
        for (const Linear::Residual residual : {Linear::kNone, Linear::kApart, Linear::kInPlace}) {
          Linear l{130, 150, 72, out, dtype, dtype, ZO2_ACTIVATION_RELU, residual != Linear::kNone, residual};
          if (residual == Linear::kInPlace) l.activation = ZO2_ACTIVATION_GELU;
          l.residual_dtype = out;
          l.odd_out = true;
          exact(l);
          l.scale = 0.25;
          l.inner = residual == Linear::kApart;
          exact(l);
        }
      }
    }
    one({96, 264, 328, ZO2_F32, ZO2_BF16, ZO2_BF16});
    one({96, 264, 328, ZO2_F16, ZO2_F16, ZO2_F16});
    {
      // Rows further apart than they are long.
      const OpCase::Aligned apart(64);
      Linear l = bf16(140, 40, 72);
      l.odd_out = true;
      exact(l);
    }
  }

  // Both widths of its tile, more row tiles than one group has, and the ring's rounds across tiles.
  void hopper_walks() const {
    const OpCase::Aligned aligned(16);
    for (Linear l : {Linear{128 * 17 + 1, 130, 8}, Linear{260, 700, 136}, Linear{256, 256, 64}}) {
      l.x = l.weight = ZO2_BF16;
      l.bias = false;
      l.values = Linear::kEighths;
      one(l);
    }
  }

  // What is not finite must reach the loss: no activation may swallow it.
  void not_a_number() const {
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      OpCase test("a NaN passes linear, activation " + std::to_string(activation));
      Random random(5);
      test.symbol(ZO2_SYMBOL_ROWS, 20, 20);
      const int out = test.operand(C, ZO2_F32, kRows, 24), x = test.operand(T, ZO2_F32, kRows, 16),
                weight = test.operand(W, ZO2_F32, 24, 16);
      test.randomise(x, random, 1);
      test.randomise(weight, random, 1);
      test.set(x, 11, 5, std::nan(""));
      test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), -1, -1, double(activation), 1, 0}, {out});
      run_(test, [&] {
        bool right = true;
        for (int64_t r = 0; r < 20; r++) {
          for (int64_t c = 0; c < 24; c++) right = right && std::isnan(test.get(out, r, c)) == (r == 11);
        }
        CHECK(right, "%s", test.name().c_str());
      });
    }
  }

 private:
  enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE };
  static constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
  static constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};
  static constexpr int64_t kTileShapes[][3] = {{1, 1, 1},       {63, 65, 31},   {64, 64, 32},  {65, 63, 33},
                                               {127, 129, 64},  {128, 128, 96}, {129, 1, 127}, {1, 129, 128},
                                               {261, 133, 161}, {70, 300, 40}};

  static std::string name_of(const Linear& l) {
    const char* const residuals[] = {"", ", residual ", ", residual in place "};
    const char* const values[] = {"", ", eighths", ", nudged eighths"};
    return label("linear", l.m, l.n, l.k, l.x, l.weight) + " to " + dtype_name(l.out) + ", activation " +
           std::to_string(l.activation) + (l.bias ? std::string(", bias ") + dtype_name(l.bias_dtype) : "") +
           residuals[l.residual] + (l.residual == Linear::kNone ? "" : dtype_name(l.residual_dtype)) +
           values[l.values] + (l.odd_out ? ", odd out" : "") +
           (l.scale == 1 ? "" : ", scale " + std::to_string(l.scale)) + (l.inner ? ", inner" : "");
  }

  static void draw(OpCase& test, int operand, Random& random, Linear::Values values, bool factor) {
    if (values == Linear::kReal) return test.randomise(operand, random, 1);
    const bool nudged = values == Linear::kNudged && factor && test.dtype(operand) == ZO2_F32;
    for (int64_t r = 0; r < test.rows(operand); r++) {
      for (int64_t c = 0; c < test.cols(operand); c++) {
        const double value = static_cast<double>(random.below(17) - 8) / 8;
        const double nudge = random.below(2) == 0 ? 0x1p-16 : -0x1p-16;
        test.set(operand, r, c, nudged && value != 0 ? value + nudge : value);
      }
    }
  }

  static void verify(OpCase& test, const Linear& l, int out, int x, int weight, int bias, int residual) {
    // Nudged operands have exact sums once they are rounded.
    const bool rounds = test.way().cuda && (test.way().tf32 || l.weight != ZO2_F32);
    const bool exact = (l.values == Linear::kEighths || (l.values == Linear::kNudged && rounds)) &&
                       (l.activation == ZO2_ACTIVATION_NONE || l.activation == ZO2_ACTIVATION_RELU);
    const std::vector<double> xs = test.factors(x, weight), weights = test.factors(weight, weight);
    std::vector<double> errors(static_cast<size_t>(l.m * l.n)), values(errors.size());
    for (int64_t r = 0; r < l.m; r++) {
      for (int64_t c = 0; c < l.n; c++) {
        double sum = bias >= 0 ? test.get(bias, 0, c) : 0, size = std::fabs(sum);
        for (int64_t k = 0; k < l.k; k++) {
          const double term = l.scale * xs[size_t(r * l.k + k)] * weights[size_t(c * l.k + k)];
          sum += term;
          size += std::fabs(term);
        }
        const double before = residual >= 0 ? test.before(residual, r, c) : 0;
        values[size_t(r * l.n + c)] =
            l.inner ? activate(l.activation, sum + before) : activate(l.activation, sum) + before;
        // No activation is steeper than 1.13.
        errors[size_t(r * l.n + c)] = 1e-6 * (size + std::fabs(before)) + 1.13 * test.factor_error(weight) * size;
      }
    }
    const auto value = [&](int64_t r, int64_t c) { return values[size_t(r * l.n + c)]; };
    if (exact) return test.expect_exact(out, value);
    test.expect(out, value, [&](int64_t r, int64_t c) { return errors[size_t(r * l.n + c)]; });
  }

  const Runner run_;
};

}  // namespace zo2::test
