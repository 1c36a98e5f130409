// Every op but linear, attention and crossEntropy against a naive double-precision reference; see op_case.h for what
// every case checks besides.
#include <algorithm>
#include <cmath>

#include "op_case.h"
#include "op_reference.h"

namespace {

using zo2::test::activate;
using zo2::test::label;
using zo2::test::on_cuda;
using zo2::test::OpCase;
using zo2::test::Random;

enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE, I = ZO2_SPACE_INPUTS };
constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

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
  for (int64_t r = 0; r < m; r++)
    test.set(index, r, 0, static_cast<double>(r == 0 ? start + count - 1 : random.below(vocabulary) - 2));
  test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), double(start), double(count), double(accumulate)},
          {out});
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
  const int out = test.operand(T, out_dtype, -1 - ZO2_SYMBOL_HEAD_ROWS, n, 2),
            x = test.operand(C, x_dtype, kRows, n, 5);
  const int index = test.operand(I, ZO2_I32, -1 - ZO2_SYMBOL_HEAD_ROWS, 1);
  test.randomise(x, random, 1);
  for (int64_t r = 0; r < m; r++) test.set(index, r, 0, static_cast<double>(r == 0 ? 36 : random.below(37)));
  test.op(ZO2_OP_GATHER_ROWS, {double(out), double(x), double(index)}, {out});
  test.run([&] {
    test.expect(
        out, [&](int64_t r, int64_t c) { return test.get(x, static_cast<int64_t>(test.get(index, r, 0)), c); }, kExact);
  });
}

void test_layer_norm(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype, double center, bool in_place,
                     bool biased) {
  OpCase test(label(in_place ? "layerNorm in place" : "layerNorm", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  const double epsilon = 1e-5;
  const int x = test.operand(C, x_dtype, kRows, n, 4), out = in_place ? x : test.operand(T, out_dtype, kRows, n, 1);
  const int gain = test.operand(W, ZO2_F32, 1, n), bias = biased ? test.operand(W, x_dtype, 1, n) : -1;
  test.randomise(x, random, 2, center);
  test.randomise(gain, random, 1, 1);
  if (biased) test.randomise(bias, random, 1);
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
          return (test.before(x, r, c) - mean[size_t(r)]) * inverse[size_t(r)] * test.get(gain, 0, c) +
                 (biased ? test.get(bias, 0, c) : 0.0);
        },
        [&](int64_t r, int64_t c) {
          // The mean is rounded to fp32 at its own size, the rest at the size of the result.
          return (std::fabs(mean[size_t(r)]) * inverse[size_t(r)] * 3e-7 + 2e-6) *
                 (1 + std::fabs(test.get(gain, 0, c)));
        });
  });
}

void test_rms_norm(int64_t m, int64_t n, int64_t group, zo2_dtype out_dtype, zo2_dtype x_dtype, bool in_place) {
  OpCase test(label(in_place ? "rmsNorm in place" : "rmsNorm", m, n, group, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  const double epsilon = 1e-6;
  const int x = test.operand(C, x_dtype, kRows, n, 4), out = in_place ? x : test.operand(T, out_dtype, kRows, n, 1);
  const int gain = test.operand(W, n % 2 == 0 ? x_dtype : ZO2_F32, 1, group);
  test.randomise(x, random, 2);
  test.randomise(gain, random, 1, 1);
  test.op(ZO2_OP_RMS_NORM, {double(out), double(x), double(gain), epsilon}, {out});
  test.run([&] {
    const auto inverse = [&](int64_t r, int64_t c) {
      double squares = 0;
      for (int64_t i = c / group * group; i < c / group * group + group; i++)
        squares += std::pow(test.before(x, r, i), 2);
      return 1 / std::sqrt(squares / double(group) + epsilon);
    };
    const auto exact = [&](int64_t r, int64_t c) {
      return test.before(x, r, c) * inverse(r, c) * test.get(gain, 0, c % group);
    };
    test.expect(out, exact, [&](int64_t r, int64_t c) { return 1e-6 * std::fabs(exact(r, c)); });
  });
}

struct Rope {
  int64_t m, heads, head_size, rotary;
  zo2_dtype out, x;
  bool in_place;
};

void test_rope(const Rope& p) {
  const int64_t n = p.heads * p.head_size, count = p.rotary / 2;
  OpCase test(label(p.in_place ? "rope in place" : "rope", p.m, n, p.rotary, p.out, p.x));
  Random random(static_cast<uint64_t>(p.m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(p.m) + 2, static_cast<uint64_t>(p.m));
  const int x = test.operand(C, p.x, kRows, n, 4), out = p.in_place ? x : test.operand(T, p.out, kRows, n, 1);
  const int positions = test.operand(I, ZO2_I32, kRows, 1, 1);
  test.randomise(x, random, 1);
  // Far positions, so that angles of many turns must be reduced; the first row's is 0.
  for (int64_t r = 0; r < p.m; r++)
    test.set(positions, r, 0, r == 0 ? 0 : double(random.below(r % 3 == 0 ? 131072 : 100)));
  const double scaling = 1.25;
  std::vector<double> words = {double(out),      double(x), double(positions), double(p.head_size),
                               double(p.rotary), scaling,   double(count)};
  std::vector<float> frequencies;
  for (int64_t j = 0; j < count; j++)
    frequencies.push_back(static_cast<float>(std::pow(10000.0, -double(j) / double(count))));
  words.insert(words.end(), frequencies.begin(), frequencies.end());
  test.op(ZO2_OP_ROPE, words, {out});
  test.run([&] {
    const auto rotated = [&](int64_t r, int64_t c) {
      const int64_t at = c % p.head_size, head = c - at;
      if (at >= p.rotary) return test.before(x, r, c);
      const int64_t j = at % count;
      // The angle is rounded to fp32, its cosine is that of the rounded one.
      const float angle = static_cast<float>(test.get(positions, r, 0)) * frequencies[size_t(j)];
      const double cosine = std::cos(double(angle)) * scaling, sine = std::sin(double(angle)) * scaling;
      const double low = test.before(x, r, head + j), high = test.before(x, r, head + j + count);
      return at < count ? low * cosine - high * sine : high * cosine + low * sine;
    };
    test.expect(out, rotated, [&](int64_t, int64_t c) { return c % p.head_size < p.rotary ? 1e-6 : 0; });
  });
}

void test_gated_activation(int64_t m, int64_t n, int activation, zo2_dtype dtype, zo2_dtype up_dtype, bool in_place) {
  OpCase test(label(in_place ? "gatedActivation in place" : "gatedActivation", m, n, activation, dtype, up_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  // Of one dtype, gate and up are the halves of one matrix, as a fused projection leaves them.
  int gate, up;
  if (dtype == up_dtype) {
    const int both = test.operand(T, dtype, kRows, 2 * n, 3);
    test.randomise(both, random, 4);
    gate = test.slice(both, 0, n);
    up = test.slice(both, n, n);
  } else {
    gate = test.operand(T, dtype, kRows, n, 1);
    up = test.operand(T, up_dtype, kRows, n, 2);
    test.randomise(gate, random, 4);
    test.randomise(up, random, 1);
  }
  const int out = in_place ? gate : test.operand(C, dtype, kRows, n, 5);
  test.op(ZO2_OP_GATED_ACTIVATION, {double(out), double(gate), double(up), double(activation)}, {out});
  test.run([&] {
    const auto exact = [&](int64_t r, int64_t c) {
      return activate(activation, test.before(gate, r, c)) * test.get(up, r, c);
    };
    test.expect(out, exact, [&](int64_t r, int64_t c) { return 5e-6 * std::fabs(exact(r, c)); });
  });
}

void test_cast(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) {
  OpCase test(label("cast", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  const int x = test.operand(C, x_dtype, kRows, n, 4), out = test.operand(T, out_dtype, kRows, n, 1);
  test.randomise(x, random, 3);
  test.op(ZO2_OP_CAST, {double(out), double(x)}, {out});
  // `expect` allows half a unit in the last place of out: what is left is to round to nearest.
  test.run([&] { test.expect(out, [&](int64_t r, int64_t c) { return test.get(x, r, c); }, kExact); });
}

// The matrix beside `x` is a slice of a wider one with further rows, as a key/value cache has.
void test_scatter_rows(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) {
  OpCase test(label("scatterRows", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 10 + n));
  test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
  const int64_t slots = m + 7;
  const int cache = test.operand(ZO2_SPACE_CACHE, out_dtype, slots, 3 * n, 3), out = test.slice(cache, n, n);
  const int x = test.operand(C, x_dtype, kRows, n, 4), index = test.operand(I, ZO2_I32, kRows, 1, 1);
  test.randomise(cache, random, 1);
  test.randomise(x, random, 3);
  // Every row once, in a mixed order: 1 + 3 r modulo a number that 3 does not divide.
  const int64_t modulus = slots % 3 == 0 ? slots - 1 : slots;
  for (int64_t r = 0; r < m; r++) test.set(index, r, 0, double((1 + 3 * r) % modulus));
  test.op(ZO2_OP_SCATTER_ROWS, {double(out), double(x), double(index)}, {out});
  test.run([&] {
    std::vector<int64_t> from(size_t(slots), -1);
    for (int64_t r = 0; r < m; r++) from[size_t(test.get(index, r, 0))] = r;
    const auto row = [&](int64_t r) { return from[size_t(r)]; };
    test.expect(
        out, [&](int64_t r, int64_t c) { return row(r) < 0 ? test.before(out, r, c) : test.get(x, row(r), c); },
        kExact);
    // Rows that are not named keep their very bits, which `expect` would let round.
    bool kept = true;
    for (int64_t r = 0; r < slots; r++) {
      for (int64_t c = 0; c < n; c++) kept = kept && (row(r) >= 0 || test.get(out, r, c) == test.before(out, r, c));
    }
    CHECK(kept, "%s", test.name().c_str());
  });
}

void test_bad_scatter(double row, const char* text) {
  OpCase test("scatterRows to row " + std::to_string(row));
  Random random(1);
  test.symbol(ZO2_SYMBOL_ROWS, 5, 4);
  const int out = test.operand(ZO2_SPACE_CACHE, ZO2_F32, 9, 3), x = test.operand(C, ZO2_F32, kRows, 3),
            index = test.operand(I, ZO2_I32, kRows, 1);
  test.randomise(x, random, 1);
  for (int64_t r = 0; r < 4; r++) test.set(index, r, 0, r == 2 ? row : double(r));
  test.op(ZO2_OP_SCATTER_ROWS, {double(out), double(x), double(index)}, {});
  test.run_refused(text);
}

void test_transpose(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) {
  OpCase test(label("transpose", m, n, 0, out_dtype, x_dtype));
  Random random(static_cast<uint64_t>(m * 100 + n));
  const int x = test.operand(W, x_dtype, m, n, 4), out = test.operand(T, out_dtype, n, m, 1);
  test.randomise(x, random, 3);
  test.op(ZO2_OP_TRANSPOSE, {double(out), double(x)}, {out});
  test.run([&] { test.expect(out, [&](int64_t r, int64_t c) { return test.get(x, c, r); }, kExact); });
}

// Each activation alone, relative to its own value, far into the tail.
void test_activation_accuracy() {
  const int64_t m = 2048;
  const struct {
    int activation;
    double from;
    double (*error)(double);
  } cases[] = {
      // On CUDA, GELU is made of erfc(x / sqrt 2), which turns an error of x into one that grows with its square.
      {ZO2_ACTIVATION_GELU, -10,
       [](double x) {
         return on_cuda() ? 8e-7 + 2e-7 * x * x : x > -3 ? 8e-7 : x > -6 ? 2e-6 : 5e-6;
       }},
      {ZO2_ACTIVATION_GELU_TANH, -6, [](double x) { return x > -3 ? 1e-6 : 5e-6; }},
      {ZO2_ACTIVATION_SILU, -80, [](double) { return 5e-7; }},
  };
  for (const auto& one : cases) {
    OpCase test("activation " + std::to_string(one.activation) + " alone");
    test.symbol(ZO2_SYMBOL_ROWS, m, m);
    const int out = test.operand(C, ZO2_F32, kRows, 1), gate = test.operand(T, ZO2_F32, kRows, 1),
              up = test.operand(T, ZO2_F32, kRows, 1);
    for (int64_t r = 0; r < m; r++) {
      test.set(gate, r, 0, one.from * (1 - 2.0 * double(r) / double(m)));
      test.set(up, r, 0, 1);
    }
    test.op(ZO2_OP_GATED_ACTIVATION, {double(out), double(gate), double(up), double(one.activation)}, {out});
    test.run([&] {
      const auto exact = [&](int64_t r, int64_t) { return activate(one.activation, test.get(gate, r, 0)); };
      test.expect(out, exact,
                  [&](int64_t r, int64_t) { return one.error(test.get(gate, r, 0)) * std::fabs(exact(r, 0)); });
    });
  }
}

// What is not finite must reach the loss: no activation, norm or rotation may swallow it, nor spread it to other rows.
void test_nan() {
  const int norm = ZO2_ACTIVATION_SILU + 1, rms = norm + 1, rope = rms + 1;
  for (int kind = ZO2_ACTIVATION_NONE; kind <= rope; kind++) {
    OpCase test("a NaN passes, kind " + std::to_string(kind));
    Random random(5);
    test.symbol(ZO2_SYMBOL_ROWS, 20, 20);
    const int out = test.operand(C, ZO2_F32, kRows, 16), x = test.operand(T, ZO2_F32, kRows, 16),
              up = test.operand(T, ZO2_F32, kRows, 16);
    const int gain = test.operand(W, ZO2_F32, 1, 16), positions = test.operand(I, ZO2_I32, kRows, 1);
    for (int operand : {x, up, gain}) test.randomise(operand, random, 1);
    for (int64_t r = 0; r < 20; r++) test.set(positions, r, 0, double(r));
    test.set(x, 11, 5, std::nan(""));
    if (kind == norm) {
      test.op(ZO2_OP_LAYER_NORM, {double(out), double(x), double(gain), -1, 1e-5}, {out});
    } else if (kind == rms) {
      test.op(ZO2_OP_RMS_NORM, {double(out), double(x), double(gain), 1e-5}, {out});
    } else if (kind == rope) {
      test.op(ZO2_OP_ROPE, {double(out), double(x), double(positions), 16, 2, 1, 1, 0.5}, {out});
    } else {
      test.op(ZO2_OP_GATED_ACTIVATION, {double(out), double(x), double(up), double(kind)}, {out});
    }
    test.run([&] {
      bool right = true;
      for (int64_t r = 0; r < 20; r++) {
        for (int64_t c = 0; c < 16; c++) {
          const bool spoiled = r == 11 && (c == 5 || kind == norm || kind == rms);
          right = right && std::isnan(test.get(out, r, c)) == spoiled;
        }
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
          test_layer_norm(m, n, out, in, 0, false, true);
        }
      }
    }
  }
  test_gathered_table();
  for (int64_t n : {3, 64, 768, 1027}) {
    test_layer_norm(5, n, ZO2_F32, ZO2_F32, 0, true, true);
    test_layer_norm(50, n, ZO2_F32, ZO2_F32, 100, false, true);
  }

  for (zo2_dtype in : kFloats) {
    for (zo2_dtype out : kFloats) {
      for (int64_t n : {1, 8, 63, 200}) {
        test_layer_norm(17, n, out, in, 0, false, false);
        test_rms_norm(17, n, n, out, in, false);
        test_cast(17, n, out, in);
        test_scatter_rows(17, n, out, in);
        test_transpose(17, n, out, in);
      }
      // Around the tiles of both backends.
      for (int64_t m : {1, 63, 64, 65}) test_transpose(m, 130, out, in);
      test_rms_norm(9, 96, 32, out, in, false);
      test_rms_norm(9, 84, 21, out, in, out == in);
      test_rope({21, 3, 32, 32, out, in, out == in});
      test_rope({5, 2, 20, 10, out, in, false});
    }
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      test_gated_activation(19, 45, activation, in, ZO2_F32, false);
      test_gated_activation(19, 45, activation, in, in, true);
    }
  }
  for (int64_t n : {768, 1027, 5000}) {
    test_rms_norm(7, n, n, ZO2_F32, ZO2_F32, true);
    test_gated_activation(7, n, ZO2_ACTIVATION_SILU, ZO2_BF16, ZO2_BF16, false);
  }
  for (int64_t m : {0, 1, 300}) {
    test_rms_norm(m, 24, 8, ZO2_F32, ZO2_BF16, false);
    test_cast(m, 24, ZO2_BF16, ZO2_F32);
    test_scatter_rows(m, 24, ZO2_BF16, ZO2_F32);
    test_gated_activation(m, 24, ZO2_ACTIVATION_GELU_TANH, ZO2_F16, ZO2_F32, false);
    test_rope({m, 2, 8, 8, ZO2_F32, ZO2_F32, true});
    test_rope({m, 2, 9, 2, ZO2_F32, ZO2_F16, false});
  }
  test_rope({4, 1, 600, 600, ZO2_F32, ZO2_F32, true});
  test_scatter_rows(3, 5000, ZO2_F16, ZO2_F32);
  test_transpose(300, 200, ZO2_BF16, ZO2_BF16);
  test_bad_scatter(-1, "op 0 (scatterRows): index row 2 names row -1 of out, which has 9 rows");
  test_bad_scatter(9, "op 0 (scatterRows): index row 2 names row 9 of out, which has 9 rows");
  test_activation_accuracy();
  test_nan();
  const OpCase::Aligned aligned;
  for (zo2_dtype out : kFloats) {
    for (zo2_dtype in : kFloats) {
      for (int64_t n : {5, 64, 100, 777}) {
        test_embed(9, n, out, in, false);
        test_embed(9, n, out, in, true);
        test_gather_rows(9, n, out, in);
        test_layer_norm(9, n, out, in, 0, out == in, n != 100);
        test_rms_norm(9, n, n, out, in, out == in);
        test_gated_activation(9, n, ZO2_ACTIVATION_SILU, out, in, out == in);
        test_cast(9, n, out, in);
        test_scatter_rows(9, n, out, in);
        test_transpose(9, n, out, in);
      }
      test_rms_norm(9, 96, 32, out, in, false);
      test_rope({9, 3, 64, 32, out, in, out == in});
      test_rope({9, 2, 40, 36, out, in, false});
    }
  }
  return zo2::test::report();
}
