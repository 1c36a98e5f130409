// Cases of the ops that compute row by row, against a naive double-precision reference: layerNorm, rmsNorm, rope and
// gatedActivation. See op_case.h for what every case checks besides.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "activations.h"
#include "op_case.h"

namespace zo2::test {

class RowCases {
 public:
  explicit RowCases(Runner run) : run_(std::move(run)) {}

  void all() const {
    every_shape();
    norms();
    ropes();
    gates();
    activation_accuracy();
    not_a_number();
    aligned();
  }

  // Past the contract, which asks for at least one pair of columns.
  void rope_of_nothing() const { rope({2, 2, 8, 0, ZO2_F32, ZO2_F32, false}); }

 private:
  enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE, I = ZO2_SPACE_INPUTS };
  static constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
  static constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

  void every_shape() const {
    for (zo2_dtype out : kFloats) {
      for (zo2_dtype in : kFloats) {
        for (int64_t m : {0, 1, 33}) {
          for (int64_t n : {1, 7, 8, 40}) layer_norm({m, n, out, in});
        }
        for (int64_t n : {1, 8, 63, 200}) {
          layer_norm({17, n, out, in, 0, false, false});
          rms_norm({17, n, n, out, in});
        }
      }
    }
    for (int64_t m : {0, 1, 300}) {
      rms_norm({m, 24, 8, ZO2_F32, ZO2_BF16});
      gated_activation({m, 24, ZO2_ACTIVATION_GELU_TANH, ZO2_F16, ZO2_F32});
      rope({m, 2, 8, 8, ZO2_F32, ZO2_F32, true});
      rope({m, 2, 9, 2, ZO2_F32, ZO2_F16, false});
    }
  }

  void norms() const {
    for (int64_t n : {3, 64, 768, 1027}) {
      layer_norm({5, n, ZO2_F32, ZO2_F32, 0, true});
      layer_norm({50, n, ZO2_F32, ZO2_F32, 100});
    }
    for (int64_t n : {768, 1027, 5000}) rms_norm({7, n, n, ZO2_F32, ZO2_F32, true});
    for (zo2_dtype in : kFloats) {
      for (zo2_dtype out : kFloats) {
        rms_norm({9, 96, 32, out, in});
        rms_norm({9, 84, 21, out, in, out == in});
      }
    }
    // Around what a warp, a block and a thread's registers hold of a row.
    for (int64_t n : {1, 7, 8, 9, 255, 256, 257, 512, 520, 1024, 1025, 2048, 2056, 16384, 16385}) {
      const double bound = n > 5000 ? 2e-6 : 1e-6;
      {
        const OpCase::Aligned aligned(16);
        layer_norm({n > 4000 ? 2 : 5, n, ZO2_F32, ZO2_F32, 0, false, true, ZO2_F32, ZO2_F32});
        rms_norm({n > 4000 ? 2 : 5, n, n, ZO2_F32, ZO2_F32, false, ZO2_F32, bound});
      }
      layer_norm({3, n, ZO2_BF16, ZO2_BF16, 0, false, true, ZO2_F32, ZO2_F32});
      rms_norm({3, n, n, ZO2_BF16, ZO2_BF16, false, ZO2_F32, bound});
    }
    const OpCase::Aligned aligned(16);
    for (zo2_dtype in : kFloats) {
      const zo2_dtype parameters = in == ZO2_F32 ? ZO2_BF16 : ZO2_F16;
      for (zo2_dtype out : kFloats) {
        layer_norm({6, 100, out, in, 0.5, false, true, parameters, parameters});
        rms_norm({6, 100, 100, out, in, false, parameters});
      }
      for (int64_t n : {1100, 16400}) {
        layer_norm({n > 4000 ? 2 : 6, n, in, in, 0, true, false, in});
        rms_norm({n > 4000 ? 2 : 6, n, n, in, in, true, in, n > 5000 ? 2e-6 : 1e-6});
      }
    }
    // Far from 0, the variance would be lost in the mean of the squares.
    layer_norm({4, 768, ZO2_F32, ZO2_F32, 1000});
    layer_norm({0, 64, ZO2_F32, ZO2_F32});
    rms_norm({0, 64, 64, ZO2_F32, ZO2_F32});
    rms_norm({5, 6 * 64, 64, ZO2_BF16, ZO2_BF16, true, ZO2_BF16});
    rms_norm({5, 3 * 20, 20, ZO2_F32, ZO2_F16, false, ZO2_F32});
    rms_norm({3, 2 * 1100, 1100, ZO2_BF16, ZO2_F32, false, ZO2_F32});
  }

  void ropes() const {
    for (zo2_dtype in : kFloats) {
      for (zo2_dtype out : kFloats) {
        rope({21, 3, 32, 32, out, in, out == in});
        rope({5, 2, 20, 10, out, in, false});
      }
    }
    rope({4, 1, 600, 600, ZO2_F32, ZO2_F32, true});
    for (const int64_t alignment : {0, 16}) {
      const OpCase::Aligned aligned(alignment);
      for (zo2_dtype in : kFloats) {
        for (zo2_dtype out : kFloats) rope({5, 3, 64, 64, out, in, false});
        rope({4, 2, 128, 128, in, in, true});
        for (const bool in_place : {false, true}) rope({3, 2, 80, 32, in, in, in_place});
        rope({3, 4, 7, 6, in, in, false});
      }
      rope({2, 2, 600, 560, ZO2_BF16, ZO2_F32, false});
      rope({1, 1, 2, 2, ZO2_F32, ZO2_F32, false});
    }
  }

  void gates() const {
    for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
      for (zo2_dtype in : kFloats) {
        gated_activation({19, 45, activation, in, ZO2_F32});
        gated_activation({19, 45, activation, in, in, true});
        gated_activation({9, 129, activation, in, in, true, in, true});
        gated_activation({300, 16, activation, in, ZO2_F32, false, ZO2_BF16, true});
      }
      const OpCase::Aligned aligned(16);
      for (int64_t n : {1, 7, 8, 9, 64, 100, 2049})
        gated_activation({5, n, activation, ZO2_F32, ZO2_F32, false, ZO2_F32, true});
    }
    for (int64_t n : {768, 1027, 5000}) gated_activation({7, n, ZO2_ACTIVATION_SILU, ZO2_BF16, ZO2_BF16});
  }

  void aligned() const {
    const OpCase::Aligned aligned;
    for (zo2_dtype out : kFloats) {
      for (zo2_dtype in : kFloats) {
        for (int64_t n : {5, 64, 100, 777}) {
          layer_norm({9, n, out, in, 0, out == in, n != 100});
          rms_norm({9, n, n, out, in, out == in});
          gated_activation({9, n, ZO2_ACTIVATION_SILU, out, in, out == in});
        }
        rms_norm({9, 96, 32, out, in});
        rope({9, 3, 64, 32, out, in, out == in});
        rope({9, 2, 40, 36, out, in, false});
      }
    }
  }

  struct LayerNorm {
    int64_t m, n;
    zo2_dtype out, x;
    double center = 0;
    bool in_place = false, biased = true;
    zo2_dtype gain = ZO2_F32, bias = ZO2_I32;  // I32: as x
  };

  void layer_norm(const LayerNorm& p) const {
    const int64_t m = p.m, n = p.n;
    OpCase test(label(p.in_place ? "layerNorm in place" : "layerNorm", m, n, 0, p.out, p.x));
    Random random(static_cast<uint64_t>(m * 100 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
    const double epsilon = 1e-5;
    const int x = test.operand(C, p.x, kRows, n, 4), out = p.in_place ? x : test.operand(T, p.out, kRows, n, 1);
    const int gain = test.operand(W, p.gain, 1, n),
              bias = p.biased ? test.operand(W, p.bias == ZO2_I32 ? p.x : p.bias, 1, n) : -1;
    test.randomise(x, random, 2, p.center);
    test.randomise(gain, random, 1, 1);
    if (p.biased) test.randomise(bias, random, 1);
    test.op(ZO2_OP_LAYER_NORM, {double(out), double(x), double(gain), double(bias), epsilon}, {out});
    run_(test, [&] {
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
                   (p.biased ? test.get(bias, 0, c) : 0.0);
          },
          [&](int64_t r, int64_t c) {
            // The mean is rounded to fp32 at its own size, the rest at the size of the result.
            return (std::fabs(mean[size_t(r)]) * inverse[size_t(r)] * 3e-7 + 2e-6) *
                   (1 + std::fabs(test.get(gain, 0, c)));
          });
    });
  }

  struct RmsNorm {
    int64_t m, n, group;
    zo2_dtype out, x;
    bool in_place = false;
    zo2_dtype gain = ZO2_I32;  // I32: as x where n is even, otherwise f32
    double bound = 1e-6;       // relative to the result
  };

  void rms_norm(const RmsNorm& p) const {
    const int64_t m = p.m, n = p.n, group = p.group;
    OpCase test(label(p.in_place ? "rmsNorm in place" : "rmsNorm", m, n, group, p.out, p.x));
    Random random(static_cast<uint64_t>(m * 100 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
    const double epsilon = 1e-6;
    const int x = test.operand(C, p.x, kRows, n, 4), out = p.in_place ? x : test.operand(T, p.out, kRows, n, 1);
    const int gain = test.operand(W, p.gain != ZO2_I32 ? p.gain : n % 2 == 0 ? p.x : ZO2_F32, 1, group);
    test.randomise(x, random, 2);
    test.randomise(gain, random, 1, 1);
    test.op(ZO2_OP_RMS_NORM, {double(out), double(x), double(gain), epsilon}, {out});
    run_(test, [&] {
      std::vector<double> inverse;
      for (int64_t r = 0; r < m; r++) {
        for (int64_t first = 0; first < n; first += group) {
          double squares = 0;
          for (int64_t i = first; i < first + group; i++) squares += std::pow(test.before(x, r, i), 2);
          inverse.push_back(1 / std::sqrt(squares / double(group) + epsilon));
        }
      }
      const auto exact = [&](int64_t r, int64_t c) {
        return test.before(x, r, c) * inverse[size_t(r * (n / group) + c / group)] * test.get(gain, 0, c % group);
      };
      test.expect(out, exact, [&](int64_t r, int64_t c) { return p.bound * std::fabs(exact(r, c)); });
    });
  }

  struct Rope {
    int64_t m, heads, head_size, rotary;
    zo2_dtype out, x;
    bool in_place;
  };

  void rope(const Rope& p) const {
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
    run_(test, [&] {
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

  struct Gated {
    int64_t m, n;
    int activation;
    zo2_dtype gate, up;
    bool in_place = false;
    zo2_dtype out = ZO2_I32;  // I32: as gate
    bool tails = false;       // gates up to 9, where results vanish
  };

  void gated_activation(const Gated& p) const {
    const int64_t m = p.m, n = p.n;
    OpCase test(label(p.in_place ? "gatedActivation in place" : "gatedActivation", m, n, p.activation, p.gate, p.up));
    Random random(static_cast<uint64_t>(m * 100 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
    // Of one dtype, gate and up are the halves of one matrix, as a fused projection leaves them.
    int gate, up;
    if (p.gate == p.up) {
      const int both = test.operand(T, p.gate, kRows, 2 * n, 3);
      test.randomise(both, random, p.tails ? 9 : 4);
      gate = test.slice(both, 0, n);
      up = test.slice(both, n, n);
    } else {
      gate = test.operand(T, p.gate, kRows, n, 1);
      up = test.operand(T, p.up, kRows, n, 2);
      test.randomise(gate, random, p.tails ? 9 : 4);
      test.randomise(up, random, 1);
    }
    const int out = p.in_place ? gate : test.operand(C, p.out == ZO2_I32 ? p.gate : p.out, kRows, n, 5);
    test.op(ZO2_OP_GATED_ACTIVATION, {double(out), double(gate), double(up), double(p.activation)}, {out});
    run_(test, [&] {
      const auto exact = [&](int64_t r, int64_t c) {
        return activate(p.activation, test.before(gate, r, c)) * test.get(up, r, c);
      };
      test.expect(out, exact, [&](int64_t r, int64_t c) {
        return p.tails ? 1e-12 + 1e-5 * std::fabs(exact(r, c)) : 5e-6 * std::fabs(exact(r, c));
      });
    });
  }

  // Each activation alone, relative to its own value, far into the tail.
  void activation_accuracy() const {
    const int64_t m = 2048;
    const struct {
      int activation;
      double from;
      double (*error)(double x, bool cuda);
    } cases[] = {
        // On CUDA, GELU is made of erfc(x / sqrt 2), which turns an error of x into one that grows with its square.
        {ZO2_ACTIVATION_GELU, -10,
         [](double x, bool cuda) {
           return cuda ? 8e-7 + 2e-7 * x * x : x > -3 ? 8e-7 : x > -6 ? 2e-6 : 5e-6;
         }},
        {ZO2_ACTIVATION_GELU_TANH, -6, [](double x, bool) { return x > -3 ? 1e-6 : 5e-6; }},
        {ZO2_ACTIVATION_SILU, -80, [](double, bool) { return 5e-7; }},
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
      run_(test, [&] {
        const auto exact = [&](int64_t r, int64_t) { return activate(one.activation, test.get(gate, r, 0)); };
        test.expect(out, exact, [&](int64_t r, int64_t) {
          return one.error(test.get(gate, r, 0), test.way().cuda) * std::fabs(exact(r, 0));
        });
      });
    }
  }

  // What is not finite must reach the loss: no activation, norm or rotation may swallow it, nor spread it to other
  // rows.
  void not_a_number() const {
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
      run_(test, [&] {
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

  const Runner run_;
};

}  // namespace zo2::test
