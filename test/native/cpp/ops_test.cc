// embed, gatherRows, layerNorm and linear against a naive double-precision reference; see op_case.h for what every case checks besides.
#include <algorithm>
#include <cmath>

#include "cpu/ops/kernels.h"
#include "op_case.h"

namespace {

using zo2::test::dtype_name;
using zo2::test::OpCase;
using zo2::test::Random;

enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE, I = ZO2_SPACE_INPUTS };
constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

std::string label(const char* op, int64_t m, int64_t n, int64_t k, zo2_dtype a, zo2_dtype b) {
  char text[160];
  snprintf(text, sizeof text, "%s %lld x %lld x %lld, %s from %s", op, static_cast<long long>(m), static_cast<long long>(n),
           static_cast<long long>(k), dtype_name(a), dtype_name(b));
  return text;
}

const auto kExact = [](int64_t, int64_t) { return 0.0; };

void test_embed(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype table_dtype, bool accumulate) {
  OpCase test(label(accumulate ? "embed +=" : "embed", m, n, 0, out_dtype, table_dtype));
  Random random(static_cast<uint64_t>(m * 1000 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 5, static_cast<uint64_t>(m));
  const int64_t vocabulary = 40, start = 7, count = 11;
  const int out = test.operand(C, out_dtype, kRows, n, 3), table = test.operand(W, table_dtype, count, n, 1),
            index = test.operand(I, ZO2_I32, kRows, 1, 1);
  test.randomise(out, random, 1);
  test.randomise(table, random, 1);
  for (int64_t r = 0; r < m; r++) test.set(index, r, 0, static_cast<double>(r == 0 ? start + count - 1 : random.below(vocabulary) - 2));
  test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), double(start), double(count), double(accumulate)}, {out});
  test.run([&] {
    test.expect(
        out,
        [&](int64_t r, int64_t c) {
          const int64_t row = static_cast<int64_t>(test.get(index, r, 0)) - start;
          if (row < 0 || row >= count) return test.before(out, r, c);
          return test.get(table, row, c) + (accumulate ? test.before(out, r, c) : 0.0);
        },
        [&](int64_t, int64_t) { return accumulate ? 1e-7 : 0.0; });
  });
}

void test_gathered_table() {
  OpCase test("embed from a gathered table with fewer rows than at most");
  Random random(3);
  test.symbol(ZO2_SYMBOL_ROWS, 6, 6);
  test.symbol(ZO2_SYMBOL_TABLE_ROWS, 9, 2);
  const int out = test.operand(C, ZO2_F32, kRows, 5), table = test.operand(W, ZO2_F32, -1 - ZO2_SYMBOL_TABLE_ROWS, 5),
            index = test.operand(I, ZO2_I32, kRows, 1);
  test.randomise(out, random, 1);
  test.randomise(table, random, 1);
  for (int64_t r = 0; r < 6; r++) test.set(index, r, 0, static_cast<double>(r));
  test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), 0, 9, 0}, {out});
  test.run([&] {
    test.expect(
        out, [&](int64_t r, int64_t c) { return r < 2 ? test.get(table, r, c) : test.before(out, r, c); }, kExact);
  });
}

void test_gather_rows(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) {
  OpCase test(label("gatherRows", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m + n));
  test.symbol(ZO2_SYMBOL_ROWS, 50, 37);
  test.symbol(ZO2_SYMBOL_HEAD_ROWS, static_cast<uint64_t>(m) + 1, static_cast<uint64_t>(m));
  const int out = test.operand(T, out_dtype, -1 - ZO2_SYMBOL_HEAD_ROWS, n, 2), x = test.operand(C, x_dtype, kRows, n, 5);
  const int index = test.operand(I, ZO2_I32, -1 - ZO2_SYMBOL_HEAD_ROWS, 1);
  test.randomise(x, random, 1);
  for (int64_t r = 0; r < m; r++) test.set(index, r, 0, static_cast<double>(r == 0 ? 36 : random.below(37)));
  test.op(ZO2_OP_GATHER_ROWS, {double(out), double(x), double(index)}, {out});
  test.run([&] {
    test.expect(
        out, [&](int64_t r, int64_t c) { return test.get(x, static_cast<int64_t>(test.get(index, r, 0)), c); }, kExact);
  });
}

void test_layer_norm(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype, double center, bool in_place) {
  OpCase test(label(in_place ? "layerNorm in place" : "layerNorm", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  const double epsilon = 1e-5;
  const int x = test.operand(C, x_dtype, kRows, n, 4), out = in_place ? x : test.operand(T, out_dtype, kRows, n, 1);
  const int gain = test.operand(W, ZO2_F32, 1, n), bias = test.operand(W, x_dtype, 1, n);
  test.randomise(x, random, 2, center);
  test.randomise(gain, random, 1, 1);
  test.randomise(bias, random, 1);
  test.op(ZO2_OP_LAYER_NORM, {double(out), double(x), double(gain), double(bias), epsilon}, {out});
  test.run([&] {
    std::vector<double> mean(static_cast<size_t>(m)), inverse(static_cast<size_t>(m));
    for (int64_t r = 0; r < m; r++) {
      double sum = 0, squares = 0;
      for (int64_t c = 0; c < n; c++) sum += test.before(x, r, c);
      for (int64_t c = 0; c < n; c++) squares += std::pow(test.before(x, r, c) - sum / double(n), 2);
      mean[size_t(r)] = sum / double(n);
      inverse[size_t(r)] = 1 / std::sqrt(squares / double(n) + epsilon);
    }
    test.expect(
        out,
        [&](int64_t r, int64_t c) {
          return (test.before(x, r, c) - mean[size_t(r)]) * inverse[size_t(r)] * test.get(gain, 0, c) + test.get(bias, 0, c);
        },
        [&](int64_t r, int64_t c) {
          // The mean is rounded to fp32 at its own size, the rest at the size of the result.
          return (std::fabs(mean[size_t(r)]) * inverse[size_t(r)] * 3e-7 + 2e-6) * (1 + std::fabs(test.get(gain, 0, c)));
        });
  });
}

double activate(int activation, double y) {
  if (activation == ZO2_ACTIVATION_RELU) return y > 0 ? y : 0;
  if (activation == ZO2_ACTIVATION_GELU) return y * 0.5 * std::erfc(-y / std::sqrt(2.0));
  return y;
}

struct Linear {
  int64_t m, n, k;
  zo2_dtype out = ZO2_F32, x = ZO2_F32, weight = ZO2_F32;
  int activation = ZO2_ACTIVATION_NONE;
  bool bias = true;
  enum { kNone, kApart, kInPlace } residual = kNone;
};

void test_linear(const Linear& l) {
  OpCase test(label("linear", l.m, l.n, l.k, l.x, l.weight) + " to " + dtype_name(l.out) + ", activation " + std::to_string(l.activation) +
              (l.bias ? ", bias" : "") +
              (l.residual == Linear::kNone    ? ""
               : l.residual == Linear::kApart ? ", residual"
                                              : ", residual in place"));
  Random random(static_cast<uint64_t>(l.m * 10007 + l.n * 101 + l.k));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(l.m) + 3, static_cast<uint64_t>(l.m));
  const int out = test.operand(C, l.out, kRows, l.n, 5), x = test.operand(T, l.x, kRows, l.k, 3);
  const int weight = test.operand(W, l.weight, l.n, l.k, 1), bias = l.bias ? test.operand(W, ZO2_F32, 1, l.n) : -1;
  const int residual = l.residual == Linear::kNone ? -1 : l.residual == Linear::kInPlace ? out : test.operand(C, ZO2_F32, kRows, l.n, 2);
  test.randomise(out, random, 1);
  test.randomise(x, random, 1);
  test.randomise(weight, random, 1);
  if (bias >= 0) test.randomise(bias, random, 1);
  if (residual >= 0) test.randomise(residual, random, 1);
  test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), double(bias), double(residual), double(l.activation)}, {out});
  test.run([&] {
    std::vector<double> sizes(static_cast<size_t>(l.m * l.n)), values(sizes.size());
    for (int64_t r = 0; r < l.m; r++) {
      for (int64_t c = 0; c < l.n; c++) {
        double sum = bias >= 0 ? test.get(bias, 0, c) : 0, size = std::fabs(sum);
        for (int64_t k = 0; k < l.k; k++) {
          const double term = test.get(x, r, k) * test.get(weight, c, k);
          sum += term;
          size += std::fabs(term);
        }
        const double before = residual >= 0 ? test.before(residual, r, c) : 0;
        values[size_t(r * l.n + c)] = activate(l.activation, sum) + before;
        sizes[size_t(r * l.n + c)] = size + std::fabs(before);
      }
    }
    test.expect(
        out, [&](int64_t r, int64_t c) { return values[size_t(r * l.n + c)]; },
        [&](int64_t r, int64_t c) { return 1e-6 * sizes[size_t(r * l.n + c)]; });
  });
}

// GELU alone, through a linear layer with the identity: relative to its own value, far into the tail.
void test_gelu() {
  OpCase test("gelu");
  const int64_t m = 2048;
  test.symbol(ZO2_SYMBOL_ROWS, m, m);
  const int out = test.operand(C, ZO2_F32, kRows, 1), x = test.operand(T, ZO2_F32, kRows, 1), weight = test.operand(W, ZO2_F32, 1, 1);
  for (int64_t r = 0; r < m; r++) test.set(x, r, 0, -10 + 20.0 * double(r) / double(m));
  test.set(weight, 0, 0, 1);
  test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), -1, -1, ZO2_ACTIVATION_GELU}, {out});
  test.run([&] {
    const auto exact = [&](int64_t r, int64_t) { return activate(ZO2_ACTIVATION_GELU, test.get(x, r, 0)); };
    test.expect(out, exact, [&](int64_t r, int64_t) {
      const double at = test.get(x, r, 0), relative = at > -3 ? 8e-7 : at > -6 ? 2e-6 : 5e-6;
      return relative * std::fabs(exact(r, 0));
    });
  });
}

// exp itself: the sum over a row of one element.
void test_exponential(const zo2::cpu::OpKernels& kernels) {
  double worst = 0;
  float worst_at = 0;
  for (int i = 0; i <= 2000000; i++) {
    const float x = static_cast<float>(-87.3 + 175.3 * i / 2000000);
    const double error = std::fabs(kernels.exponential_sum(&x, 0, 1) / std::exp(static_cast<double>(x)) - 1);
    if (error > worst) worst = error, worst_at = x;
  }
  CHECK(worst < 2e-7, "%s: exp(%g) is off by %.3g, relative", kernels.name, static_cast<double>(worst_at), worst);
  const float low[] = {-87.4f, -1000, -HUGE_VALF}, nan = std::nanf("");
  CHECK(kernels.exponential_sum(low, 0, 3) == 0, "%s: far below, exp is 0", kernels.name);
  CHECK(std::isnan(kernels.exponential_sum(&nan, 0, 1)), "%s: exp of NaN is NaN", kernels.name);
}

// Storage conversions against the scalar ones of numerics/: every fp16 and bf16 pattern, and fp32 patterns of all sizes, halfway cases too.
void test_storage(const zo2::cpu::OpKernels& kernels) {
  using namespace zo2::numerics;
  int64_t wide_wrong = 0, narrow_wrong = 0;
  std::vector<uint16_t> halves(65536 + 3);
  for (size_t i = 0; i < halves.size(); i++) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> floats(halves.size());
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    kernels.widen(dtype, halves.data(), floats.data(), static_cast<int64_t>(floats.size()));
    for (size_t i = 0; i < floats.size(); i++) {
      const float expected = dtype == ZO2_F16 ? f16_to_f32(halves[i]) : bf16_to_f32(halves[i]);
      wide_wrong += std::isnan(expected) ? !std::isnan(floats[i]) : float_bits(expected) != float_bits(floats[i]);
    }
  }
  Random random(9);
  std::vector<float> source(100003);
  for (size_t i = 0; i < source.size(); i++) {
    const uint32_t bits = static_cast<uint32_t>(random.bits()), halfway = i % 3 == 0 ? 0x8000u : 0x1000u;
    source[i] = bits_float(i % 2 == 0 ? bits : (bits & ~(2 * halfway - 1)) | halfway);
  }
  std::vector<uint16_t> out(source.size());
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    kernels.narrow(source.data(), dtype, out.data(), static_cast<int64_t>(source.size()));
    for (size_t i = 0; i < source.size(); i++)
      narrow_wrong += out[i] != (dtype == ZO2_F16 ? f32_to_f16(source[i]) : f32_to_bf16(source[i]));
  }
  CHECK(wide_wrong == 0 && narrow_wrong == 0, "%s: %lld widened and %lld narrowed values differ from numerics/", kernels.name,
        static_cast<long long>(wide_wrong), static_cast<long long>(narrow_wrong));
}

// What is not finite must reach the loss: no activation or norm may swallow it.
void test_nan() {
  for (int activation : {ZO2_ACTIVATION_NONE, ZO2_ACTIVATION_RELU, ZO2_ACTIVATION_GELU}) {
    OpCase test("a NaN passes linear, activation " + std::to_string(activation));
    Random random(5);
    test.symbol(ZO2_SYMBOL_ROWS, 20, 20);
    const int out = test.operand(C, ZO2_F32, kRows, 24), x = test.operand(T, ZO2_F32, kRows, 16), weight = test.operand(W, ZO2_F32, 24, 16);
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
  for (int64_t m : {0, 1, 33}) {
    for (int64_t n : {1, 7, 8, 40}) {
      for (zo2_dtype out : kFloats) {
        for (zo2_dtype in : kFloats) {
          test_embed(m, n, out, in, false);
          test_embed(m, n, out, in, true);
          test_gather_rows(m, n, out, in);
          test_layer_norm(m, n, out, in, 0, false);
        }
      }
    }
  }
  test_gathered_table();
  for (int64_t n : {3, 64, 768, 1027}) {
    test_layer_norm(5, n, ZO2_F32, ZO2_F32, 0, true);
    test_layer_norm(50, n, ZO2_F32, ZO2_F32, 100, false);
  }

  // One row, thin products and their limit, tails in every dimension, several chunks, depths around the blocks.
  const int64_t shapes[][3] = {{0, 5, 7},     {1, 1, 1},     {1, 70, 33},    {2, 9, 768},    {3, 16, 17},    {4, 65, 8},
                               {5, 130, 300}, {8, 31, 64},   {9, 17, 9},     {13, 40, 257},  {32, 64, 64},   {37, 50, 100},
                               {48, 16, 256}, {100, 97, 33}, {129, 257, 20}, {257, 70, 385}, {300, 33, 513}, {513, 300, 24}};
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
  test_gelu();
  test_nan();
  for (bool vectorised : {false, true}) {
    if (vectorised && !zo2::cpu::has_avx2_fma_f16c()) continue;
    test_exponential(zo2::cpu::op_kernels(vectorised));
    test_storage(zo2::cpu::op_kernels(vectorised));
  }
  return zo2::test::report();
}
