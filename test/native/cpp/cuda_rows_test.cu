// The kernels that work row by row, one at a time, against double precision: norms, rope, gatedActivation, embed,
// gatherRows, scatterRows, cast, transpose.
#include "cuda_matrix.h"

#include "cuda/ops/cast.cuh"
#include "cuda/ops/embed.cuh"
#include "cuda/ops/gated_activation.cuh"
#include "cuda/ops/gather_rows.cuh"
#include "cuda/ops/layer_norm.cuh"
#include "cuda/ops/rms_norm.cuh"
#include "cuda/ops/rope.cuh"
#include "cuda/ops/scatter_rows.cuh"
#include "cuda/ops/transpose.cuh"

namespace {

using zo2::test::check_values;
using zo2::test::DeviceMatrix;
using zo2::test::Launcher;
using zo2::test::name_of;
using zo2::test::Numbers;

constexpr zo2_dtype kDtypes[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

std::string label(const char* op, int64_t rows, int64_t cols, zo2_dtype from, zo2_dtype to) {
  return std::string(op) + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " + name_of(from) + " to " +
         name_of(to);
}

struct Norm {
  int64_t rows, width, groups;
  zo2_dtype in, out, parameters;
  int64_t pad, lead;
  bool bias;
  double center;
};

// layerNorm when `centered`, rmsNorm otherwise; `in_place` needs one dtype.
void test_norm(const Norm& n, bool centered, bool in_place) {
  const std::string what = label(centered ? "layerNorm" : "rmsNorm", n.rows, n.width * n.groups, n.in, n.out) +
                           (in_place ? " in place" : "");
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(n.width + n.rows));
  DeviceMatrix x(n.in, n.rows, n.width * n.groups, n.pad, n.lead),
      other(n.out, n.rows, n.width * n.groups, n.pad, n.lead);
  DeviceMatrix gain(n.parameters, 1, n.width, 0, n.lead), bias(n.parameters, 1, n.width, 0, n.lead);
  DeviceMatrix& out = in_place ? x : other;
  x.randomise(numbers, 1, n.center);
  gain.randomise(numbers);
  bias.randomise(numbers);
  for (DeviceMatrix* m : {&x, &other, &gain, &bias}) m->upload();
  const zo2::cuda::Matrix none = {};
  const float epsilon = 1e-5f;
  for (int twice = 0; twice < (in_place ? 1 : 2); twice++) {
    launcher.finish(centered ? launch_layer_norm(launcher.launch(), {out.view(), x.view(), gain.view(),
                                                                     n.bias ? bias.view() : none, epsilon})
                             : launch_rms_norm(launcher.launch(), {out.view(), x.view(), gain.view(), epsilon}),
                    what.c_str());
  }
  out.download();
  // The error of an element, in fp32, is that of the mean and of the difference: of the size of x.
  const double size = 1 + std::fabs(n.center);
  std::vector<double> mean(size_t(n.rows * n.groups)), inverse(mean.size());
  for (int64_t r = 0; r < n.rows; r++) {
    for (int64_t g = 0; g < n.groups; g++) {
      double sum = 0, squares = 0;
      for (int64_t c = 0; c < n.width; c++) sum += x.before(r, g * n.width + c);
      const double center = centered ? sum / double(n.width) : 0;
      for (int64_t c = 0; c < n.width; c++) squares += std::pow(x.before(r, g * n.width + c) - center, 2);
      mean[size_t(r * n.groups + g)] = center;
      inverse[size_t(r * n.groups + g)] = 1 / std::sqrt(squares / double(n.width) + double(epsilon));
    }
  }
  // A row of one column has no variance: what is left of the mean's error is multiplied by 1 / sqrt(epsilon).
  const double absolute = 1e-6 * size * (n.width == 1 && centered ? 300 : 4);
  check_values(out, what.c_str(), absolute, 2e-6, [&](int64_t r, int64_t c) {
    const size_t row = size_t(r * n.groups + c / n.width);
    const int64_t i = c % n.width;
    return (x.before(r, c) - mean[row]) * inverse[row] * gain.get(0, i) + (centered && n.bias ? bias.get(0, i) : 0);
  });
}

void test_norms() {
  for (bool centered : {true, false}) {
    for (int64_t width : {1, 7, 8, 9, 255, 256, 257, 512, 520, 1024, 1025, 2048, 2056, 16384, 16385}) {
      test_norm({width > 4000 ? 2 : 5, width, 1, ZO2_F32, ZO2_F32, ZO2_F32, 0, 0, true, 0}, centered, false);
      test_norm({3, width, 1, ZO2_BF16, ZO2_BF16, ZO2_F32, 3, 1, true, 0}, centered, false);
    }
    for (zo2_dtype in : kDtypes) {
      for (zo2_dtype out : kDtypes)
        test_norm({6, 100, 1, in, out, in == ZO2_F32 ? ZO2_BF16 : ZO2_F16, 4, 8, true, 0.5}, centered, false);
      test_norm({6, 1100, 1, in, in, in, 4, 0, false, 0}, centered, true);
      test_norm({2, 16400, 1, in, in, in, 0, 0, false, 0}, centered, true);
    }
    // Far from 0, the variance would be lost in the mean of the squares.
    test_norm({4, 768, 1, ZO2_F32, ZO2_F32, ZO2_F32, 0, 0, true, 1000}, centered, false);
    test_norm({0, 64, 1, ZO2_F32, ZO2_F32, ZO2_F32, 0, 0, true, 0}, centered, false);
  }
  test_norm({5, 64, 6, ZO2_BF16, ZO2_BF16, ZO2_BF16, 8, 0, false, 0}, false, true);
  test_norm({5, 20, 3, ZO2_F16, ZO2_F32, ZO2_F32, 0, 0, false, 0}, false, false);
  test_norm({3, 1100, 2, ZO2_F32, ZO2_BF16, ZO2_F32, 1, 0, false, 0}, false, false);
}

struct Rope {
  int64_t rows, heads, head_size, rotary;
  zo2_dtype in, out;
  int64_t pad, lead;
  double scaling;
  int64_t farthest;
};

void test_rope(const Rope& p, bool in_place) {
  const std::string what =
      label("rope", p.rows, p.heads * p.head_size, p.in, p.out) + " rotary " + std::to_string(p.rotary);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(p.head_size + p.rows));
  DeviceMatrix x(p.in, p.rows, p.heads * p.head_size, p.pad, p.lead),
      other(p.out, p.rows, p.heads * p.head_size, p.pad, p.lead);
  DeviceMatrix positions(ZO2_I32, p.rows, 1, 2), frequencies(ZO2_F32, 1, p.rotary / 2);
  DeviceMatrix& out = in_place ? x : other;
  x.randomise(numbers);
  for (int64_t r = 0; r < p.rows; r++)
    positions.set(r, 0, double(r + 1 == p.rows ? p.farthest : numbers.below(p.farthest + 1)));
  for (int64_t j = 0; j < p.rotary / 2; j++)
    frequencies.set(0, j, std::pow(10000.0, -2.0 * double(j) / double(p.rotary)));
  for (DeviceMatrix* m : {&x, &other, &positions, &frequencies}) m->upload();
  launcher.finish(
      launch_rope(launcher.launch(), {out.view(), x.view(), positions.view(), p.head_size, p.rotary, float(p.scaling),
                                      static_cast<const float*>(frequencies.view().data)}),
      what.c_str());
  out.download();
  check_values(out, what.c_str(), 1e-6 * p.scaling, 0, [&](int64_t r, int64_t c) {
    const int64_t half = p.rotary / 2, head = c / p.head_size * p.head_size, i = c % p.head_size;
    if (i >= p.rotary) return x.before(r, c);
    // The angle is an fp32 product: that rounding belongs to the definition.
    const double angle = static_cast<float>(positions.get(r, 0)) * static_cast<float>(frequencies.get(0, i % half));
    const double a = x.before(r, head + i % half), b = x.before(r, head + i % half + half);
    return p.scaling *
           (i < half ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle));
  });
}

void test_ropes() {
  for (zo2_dtype in : kDtypes) {
    for (zo2_dtype out : kDtypes) test_rope({5, 3, 64, 64, in, out, 0, 0, 1, 2047}, false);
    test_rope({4, 2, 128, 128, in, in, 8, 0, 1.25, 131072}, true);
    test_rope({3, 2, 80, 32, in, in, 0, 8, 1, 100}, false);
    test_rope({3, 2, 80, 32, in, in, 3, 1, 1, 100}, true);
    test_rope({3, 4, 7, 6, in, in, 0, 0, 1, 9}, false);
  }
  test_rope({2, 2, 600, 560, ZO2_F32, ZO2_BF16, 0, 0, 1, 50}, false);
  test_rope({1, 1, 2, 2, ZO2_F32, ZO2_F32, 0, 0, 1, 0}, false);
  test_rope({2, 2, 8, 0, ZO2_F32, ZO2_F32, 0, 0, 1, 3}, false);
  test_rope({0, 2, 8, 8, ZO2_F32, ZO2_F32, 0, 0, 1, 3}, false);
}

double activate(int activation, double x) {
  switch (activation) {
    case ZO2_ACTIVATION_RELU:
      return x > 0 ? x : 0;
    case ZO2_ACTIVATION_GELU:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case ZO2_ACTIVATION_GELU_TANH:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case ZO2_ACTIVATION_SILU:
      return x / (1 + std::exp(-x));
    default:
      return x;
  }
}

void test_gated(int activation, int64_t rows, int64_t cols, zo2_dtype in, zo2_dtype up_dtype, zo2_dtype out_dtype,
                int64_t pad, bool in_place) {
  const std::string what =
      label("gatedActivation", rows, cols, in, out_dtype) + " activation " + std::to_string(activation);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + activation));
  DeviceMatrix gate(in, rows, cols, pad), up(up_dtype, rows, cols, pad, 1), other(out_dtype, rows, cols, pad);
  DeviceMatrix& out = in_place ? gate : other;
  gate.randomise(numbers, 9);
  up.randomise(numbers);
  for (DeviceMatrix* m : {&gate, &up, &other}) m->upload();
  launcher.finish(launch_gated_activation(launcher.launch(), {out.view(), gate.view(), up.view(), activation}),
                  what.c_str());
  out.download();
  // tanh cancels in the reference's own formula, by its double precision; erfc keeps its relative accuracy.
  check_values(out, what.c_str(), 1e-12, 1e-5,
               [&](int64_t r, int64_t c) { return activate(activation, gate.before(r, c)) * up.get(r, c); });
}

void test_gates() {
  for (int activation :
       {ZO2_ACTIVATION_NONE, ZO2_ACTIVATION_RELU, ZO2_ACTIVATION_GELU, ZO2_ACTIVATION_GELU_TANH, ZO2_ACTIVATION_SILU}) {
    for (int64_t cols : {1, 7, 8, 9, 64, 100, 2049})
      test_gated(activation, 5, cols, ZO2_F32, ZO2_F32, ZO2_F32, 0, false);
    for (zo2_dtype dtype : kDtypes) {
      test_gated(activation, 9, 129, dtype, dtype, dtype, 7, true);
      test_gated(activation, 300, 16, dtype, ZO2_F32, ZO2_BF16, 0, false);
    }
  }
  test_gated(ZO2_ACTIVATION_SILU, 0, 8, ZO2_F32, ZO2_F32, ZO2_F32, 0, false);
}

void test_embed(int64_t rows, int64_t cols, int64_t table_rows, int64_t start, int64_t count, bool accumulate,
                zo2_dtype in, zo2_dtype out_dtype, int64_t pad) {
  const std::string what = label(accumulate ? "embed, accumulating" : "embed", rows, cols, in, out_dtype);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + rows));
  DeviceMatrix table(in, table_rows, cols, pad), out(out_dtype, rows, cols, pad, 1), index(ZO2_I32, rows, 1, 1);
  table.randomise(numbers);
  out.randomise(numbers);
  for (int64_t r = 0; r < rows; r++) index.set(r, 0, double(numbers.below(start + count + 4)) - 2);
  for (DeviceMatrix* m : {&table, &out, &index}) m->upload();
  launcher.finish(launch_embed(launcher.launch(), {out.view(), table.view(), index.view(), start, count, accumulate}),
                  what.c_str());
  out.download();
  check_values(out, what.c_str(), 1e-7, 0, [&](int64_t r, int64_t c) {
    const int64_t source = int64_t(index.get(r, 0)) - start;
    if (source < 0 || source >= std::min(count, table_rows)) return out.before(r, c);
    return (accumulate ? out.before(r, c) : 0) + table.get(source, c);
  });
}

void test_gather(int64_t rows, int64_t cols, int64_t x_rows, zo2_dtype in, zo2_dtype out_dtype, int64_t pad,
                 int64_t lead) {
  const std::string what = label("gatherRows", rows, cols, in, out_dtype);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + rows));
  DeviceMatrix x(in, x_rows, cols, pad, lead), out(out_dtype, rows, cols, pad), index(ZO2_I32, rows, 1);
  if (!x.memory_ok()) {
    printf("%s: skipped, no memory for its gaps\n", what.c_str());
    return;
  }
  x.randomise(numbers);
  for (int64_t r = 0; r < rows; r++) index.set(r, 0, double(r == 0 ? x_rows - 1 : numbers.below(x_rows)));
  for (DeviceMatrix* m : {&x, &out, &index}) m->upload();
  launcher.finish(launch_gather_rows(launcher.launch(), {out.view(), x.view(), index.view()}), what.c_str());
  out.download();
  check_values(out, what.c_str(), 0, 0, [&](int64_t r, int64_t c) { return x.get(int64_t(index.get(r, 0)), c); });
}

void test_scatter(int64_t rows, int64_t cols, int64_t out_rows, zo2_dtype in, zo2_dtype out_dtype, int64_t pad,
                  int64_t lead) {
  const std::string what = label("scatterRows", rows, cols, in, out_dtype);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + rows));
  DeviceMatrix x(in, rows, cols, pad), out(out_dtype, out_rows, cols, pad, lead), index(ZO2_I32, rows, 1);
  if (!out.memory_ok()) {
    printf("%s: skipped, no memory for its gaps\n", what.c_str());
    return;
  }
  x.randomise(numbers);
  out.randomise(numbers);
  // From the last row up, so that some rows at the start are not named.
  for (int64_t r = 0; r < rows; r++) index.set(r, 0, double(out_rows - 1 - r));
  for (DeviceMatrix* m : {&x, &out, &index}) m->upload();
  launcher.finish(launch_scatter_rows(launcher.launch(), {out.view(), x.view(), index.view()}), what.c_str());
  out.download();
  check_values(out, what.c_str(), 0, 0, [&](int64_t r, int64_t c) {
    const int64_t from = out_rows - 1 - r;
    return from < rows ? x.get(from, c) : out.before(r, c);
  });
}

void test_transpose(int64_t rows, int64_t cols, zo2_dtype in, zo2_dtype out_dtype, int64_t pad, int64_t lead) {
  const std::string what = label("transpose", rows, cols, in, out_dtype);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + rows));
  DeviceMatrix x(in, rows, cols, pad, lead), out(out_dtype, cols, rows, 2 * pad),
      expected(out_dtype, cols, rows, 2 * pad);
  x.randomise(numbers, 3);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < cols; c++) expected.set(c, r, x.get(r, c));
  }
  x.upload();
  out.upload();
  launcher.finish(launch_transpose(launcher.launch(), {out.view(), x.view()}), what.c_str());
  out.download();
  CHECK(out.same_bytes(expected), "%s", what.c_str());
}

void test_cast(int64_t rows, int64_t cols, zo2_dtype in, zo2_dtype out_dtype, int64_t pad, int64_t lead) {
  const std::string what = label("cast", rows, cols, in, out_dtype);
  Launcher launcher;
  Numbers numbers(static_cast<uint64_t>(cols + rows));
  DeviceMatrix x(in, rows, cols, pad, lead), out(out_dtype, rows, cols, 2 * pad),
      expected(out_dtype, rows, cols, 2 * pad);
  x.randomise(numbers, 3);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < cols; c++) expected.set(r, c, x.get(r, c));
  }
  x.upload();
  out.upload();
  launcher.finish(launch_cast(launcher.launch(), {out.view(), x.view()}), what.c_str());
  out.download();
  CHECK(out.same_bytes(expected), "%s", what.c_str());
}

void test_copies() {
  for (zo2_dtype in : kDtypes) {
    for (zo2_dtype out : kDtypes) {
      for (int64_t cols : {1, 8, 13, 4104}) {
        for (bool accumulate : {false, true}) test_embed(9, cols, 6, 3, 6, accumulate, in, out, cols == 13 ? 3 : 0);
        test_gather(7, cols, 5, in, out, cols == 8 ? 8 : cols == 13 ? 3 : 0, cols == 13 ? 1 : 0);
        test_cast(5, cols, in, out, cols % 8, 0);
        test_scatter(5, cols, 7, in, out, cols == 8 ? 8 : cols == 13 ? 3 : 0, cols == 13 ? 1 : 0);
      }
      for (int64_t rows : {1, 63, 64, 65}) test_transpose(rows, 140, in, out, rows % 2, rows == 65 ? 3 : 0);
      test_cast(1, 9000, in, out, 0, 1);
      test_cast(700, 3, in, out, 1, 0);
    }
  }
  test_embed(5, 8, 2, 1, 6, false, ZO2_F32, ZO2_F32, 0);  // the table has fewer rows in this run than at most
  test_embed(5, 8, 4, 0, 0, false, ZO2_F32, ZO2_F32, 0);
  test_embed(0, 8, 4, 0, 4, false, ZO2_F32, ZO2_F32, 0);
  test_gather(0, 8, 4, ZO2_F32, ZO2_F32, 0, 0);
  test_scatter(0, 8, 4, ZO2_F32, ZO2_F32, 0, 0);
  test_transpose(200, 1, ZO2_F32, ZO2_F16, 0, 0);
  test_transpose(1, 200, ZO2_F16, ZO2_F16, 0, 0);
  test_cast(0, 8, ZO2_F32, ZO2_F16, 0, 0);
  // The last row begins beyond 2^32 elements.
  test_gather(4, 24, 4, ZO2_BF16, ZO2_F32, (int64_t{1} << 31) - 25, 0);
  test_scatter(1, 24, 4, ZO2_BF16, ZO2_BF16, (int64_t{1} << 31) - 25, 0);
}

// On a stream that failed before, nothing is written.
void test_poison() {
  Launcher launcher;
  launcher.poison(true);
  Numbers numbers(1);
  DeviceMatrix x(ZO2_F32, 3, 16), out(ZO2_F32, 3, 16), before(ZO2_F32, 3, 16), gain(ZO2_F32, 1, 16),
      index(ZO2_I32, 3, 1);
  for (DeviceMatrix* m : {&x, &gain}) m->randomise(numbers);
  for (int64_t r = 0; r < 3; r++) index.set(r, 0, double(r));
  for (DeviceMatrix* m : {&x, &out, &gain, &index}) m->upload();
  const auto launch = launcher.launch();
  launcher.finish(launch_layer_norm(launch, {out.view(), x.view(), gain.view(), {}, 1e-5f}), "layerNorm");
  launcher.finish(launch_rms_norm(launch, {out.view(), x.view(), gain.view(), 1e-5f}), "rmsNorm");
  launcher.finish(
      launch_rope(launch, {out.view(), x.view(), index.view(), 16, 16, 1, static_cast<const float*>(gain.view().data)}),
      "rope");
  launcher.finish(launch_gated_activation(launch, {out.view(), x.view(), x.view(), ZO2_ACTIVATION_SILU}),
                  "gatedActivation");
  launcher.finish(launch_embed(launch, {out.view(), x.view(), index.view(), 0, 3, false}), "embed");
  launcher.finish(launch_gather_rows(launch, {out.view(), x.view(), index.view()}), "gatherRows");
  launcher.finish(launch_cast(launch, {out.view(), x.view()}), "cast");
  launcher.finish(launch_scatter_rows(launch, {out.view(), x.view(), index.view()}), "scatterRows");
  launcher.finish(launch_transpose(launch, {out.slice(0, 3), x.slice(3, 3)}), "transpose");
  out.download();
  CHECK(out.same_bytes(before), "a kernel wrote on a poisoned stream");
}

}  // namespace

int main() {
  test_norms();
  test_ropes();
  test_gates();
  test_copies();
  test_poison();
  return zo2::test::report();
}
