// Linear at kernel level, against sums in fp64. Most cases draw small multiples of 1/8, whose sums fp32 holds exactly
// in any order: there every element must have the bits of the reference.
#include "test/native/cpp/cuda_operands.h"

#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_simt.cuh"

namespace {

using zo2::cuda::Launch;
using zo2::cuda::LinearArgs;
using zo2::cuda::LinearTile;
using zo2::cuda::Matrix;
using zo2::cuda::Traits;
using zo2::test::CudaRig;
using zo2::test::name_of;
using zo2::test::Random;
using zo2::test::TestMatrix;
using zo2::test::to_dtype;

enum class Path { kChosen, kTf32, kMma128x128, kMma128x64, kMma64x64, kSimt };

struct Case {
  int64_t m, n, k;
  Path path = Path::kChosen;
  zo2_dtype x = ZO2_BF16, weight = ZO2_BF16, out = ZO2_F32;
  bool biased = true;
  zo2_dtype bias = ZO2_F32;
  enum class Residual { kNone, kApart, kOut } residual = Residual::kNone;
  zo2_dtype residual_dtype = ZO2_F32;
  int activation = ZO2_ACTIVATION_NONE;
  int64_t gap = 0, lead = 0;  // elements between rows and before the first, of every matrix
  bool real = false;          // arbitrary values instead of multiples of 1/8
};

// -1: what rounds x up to a multiple of 1/8, +1 down; so that a product which truncates, or does not round, is seen.
double eighths(Random& random, bool nudged) {
  const double value = static_cast<double>(random.below(17) - 8) / 8;
  if (!nudged || value == 0) return value;
  return value + (random.below(2) == 0 ? 0x1p-16 : -0x1p-16);
}

double activation_of(int activation, double v) {
  switch (activation) {
    case ZO2_ACTIVATION_RELU:
      return v < 0 ? 0 : v;
    case ZO2_ACTIVATION_GELU:
      return 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    case ZO2_ACTIVATION_GELU_TANH:
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case ZO2_ACTIVATION_SILU:
      return v / (1 + std::exp(-v));
    default:
      return v;
  }
}

cudaError_t launch(const Launch& at, const LinearArgs& args, Path path) {
  switch (path) {
    case Path::kMma128x128:
      return launch_linear_mma(at, args, LinearTile::k128x128);
    case Path::kMma128x64:
      return launch_linear_mma(at, args, LinearTile::k128x64);
    case Path::kMma64x64:
      return launch_linear_mma(at, args, LinearTile::k64x64);
    case Path::kSimt:
      return launch_linear_simt(at, args);
    default:
      return launch_linear(at, args);
  }
}

void run(CudaRig& rig, const Case& c) {
  char name[200];
  snprintf(name, sizeof name,
           "%lld x %lld x %lld, path %d, x %s, weight %s, out %s, bias %s, residual %d %s, activation %d, gap %lld, "
           "lead %lld",
           static_cast<long long>(c.m), static_cast<long long>(c.n), static_cast<long long>(c.k),
           static_cast<int>(c.path), name_of(c.x), name_of(c.weight), name_of(c.out),
           c.biased ? name_of(c.bias) : "none", static_cast<int>(c.residual), name_of(c.residual_dtype), c.activation,
           static_cast<long long>(c.gap), static_cast<long long>(c.lead));
  Random random(static_cast<uint64_t>(c.m * 1000003 + c.n * 1009 + c.k));
  const bool exact_fp32 = c.path == Path::kSimt || (c.path == Path::kChosen && c.weight == ZO2_F32),
             tf32 = c.weight == ZO2_F32 && !exact_fp32;
  const bool nudge_x = c.x == ZO2_F32 && !exact_fp32, nudge_weight = tf32;
  const auto draw = [&](bool nudged) {
    return [&, nudged](int64_t, int64_t) { return c.real ? random.real() : eighths(random, nudged); };
  };
  TestMatrix x(c.x, c.m, c.k, c.gap, c.lead, draw(nudge_x)),
      weight(c.weight, c.n, c.k, c.gap, c.lead, draw(nudge_weight));
  TestMatrix bias(c.bias, 1, c.n, 0, c.lead, draw(false));
  TestMatrix residual(c.residual_dtype, c.m, c.n, c.gap, c.lead, draw(false));
  TestMatrix apart(c.out, c.m, c.n, c.gap, c.lead, [](int64_t, int64_t) { return -77.0; });
  TestMatrix& out = c.residual == Case::Residual::kOut ? residual : apart;
  const Matrix none{};
  const LinearArgs args{out.view(),
                        x.view(),
                        weight.view(),
                        c.biased ? bias.view() : none,
                        c.residual == Case::Residual::kNone ? none : residual.view(),
                        c.activation};
  const zo2_dtype out_dtype = c.residual == Case::Residual::kOut ? c.residual_dtype : c.out;
  const auto operand = [&](float v) {
    if (c.weight != ZO2_F32) return to_dtype(v, c.weight);
    return tf32 ? zo2::test::to_tf32_reference(v) : v;
  };
  std::vector<double> expected, slack;
  for (int64_t i = 0; i < c.m; i++) {
    for (int64_t j = 0; j < c.n; j++) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < c.k; k++) {
        const double product = static_cast<double>(operand(x.at(i, k))) * static_cast<double>(operand(weight.at(j, k)));
        sum += product;
        size += std::fabs(product);
      }
      if (c.biased) sum += static_cast<double>(bias.at(0, j));
      double v = activation_of(c.activation, sum);
      if (c.residual != Case::Residual::kNone) v += static_cast<double>(residual.at(i, j));
      expected.push_back(v);
      slack.push_back((size + std::fabs(sum) + std::fabs(v) + 1) * 4e-7);
    }
  }

  const Traits traits = {80, 1, 99 << 10, c.path == Path::kTf32};
  Launch at = rig.launch();
  at.traits = &traits;
  MUST(launch(at, args, c.path));
  rig.finish();
  out.download();
  out.check_unused(name);
  const bool exact = !c.real && (c.activation == ZO2_ACTIVATION_NONE || c.activation == ZO2_ACTIVATION_RELU);
  for (int64_t i = 0; i < c.m; i++) {
    for (int64_t j = 0; j < c.n; j++) {
      const double want = expected[static_cast<size_t>(i * c.n + j)], got = static_cast<double>(out.at(i, j));
      double room = slack[static_cast<size_t>(i * c.n + j)];
      if (out_dtype == ZO2_F16) room += std::fabs(want) * 0x1p-11 + 0x1p-25;
      if (out_dtype == ZO2_BF16) room += std::fabs(want) * 0x1p-8;
      const bool good = exact ? got == static_cast<double>(to_dtype(static_cast<float>(want), out_dtype))
                              : std::fabs(got - want) <= room;
      if (!CHECK(good, "%s: out[%lld, %lld] is %.9g, not %.9g", name, static_cast<long long>(i),
                 static_cast<long long>(j), got, want))
        return;
    }
  }
}

// Tails in every dimension, for every tile, by every way into shared memory: both operands by cp.async, x converted,
// both in registers.
void shapes(CudaRig& rig) {
  const int64_t shape[][3] = {{1, 1, 1},      {63, 65, 31},  {64, 64, 32},  {65, 63, 33},    {127, 129, 64},
                              {128, 128, 96}, {129, 1, 127}, {1, 129, 128}, {261, 133, 161}, {70, 300, 40}};
  for (const auto& s : shape) {
    for (const Path path : {Path::kMma128x128, Path::kMma128x64, Path::kMma64x64}) {
      Case c{s[0], s[1], s[2], path};
      c.gap = (8 - s[2] % 8) % 8 + 8;
      run(rig, c);
      c.x = ZO2_F32;
      run(rig, c);
      c.weight = ZO2_F32;
      run(rig, c);
    }
    Case c{s[0], s[1], s[2], Path::kMma64x64};
    c.gap = s[2] % 2 + 1;
    c.lead = 1;
    run(rig, c);
    c.path = Path::kSimt;
    c.x = c.weight = ZO2_F32;
    run(rig, c);
  }
  // Large enough for the larger tile on the one multiprocessor of the traits, and in several groups of rows of tiles.
  run(rig, {64 * 8 + 3, 130, 20, Path::kMma64x64});
}

void dtypes(CudaRig& rig) {
  const zo2_dtype floats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};
  int number = 0;
  for (const zo2_dtype x : floats) {
    for (const zo2_dtype weight : floats) {
      for (const zo2_dtype out : floats) {
        for (const int64_t gap : {0, 1, 8}) {
          for (const Path path : {Path::kChosen, Path::kTf32}) {
            if (path == Path::kTf32 && weight != ZO2_F32) continue;
            Case c{70, 72, 48, path, x, weight, out};
            c.gap = gap;
            c.lead = gap % 8;
            c.bias = floats[number % 3];
            c.residual = static_cast<Case::Residual>(number / 3 % 3);
            c.residual_dtype = floats[number / 9 % 3];
            c.biased = number % 4 != 0;
            c.activation = number % 2 == 0 ? ZO2_ACTIVATION_NONE : ZO2_ACTIVATION_RELU;
            run(rig, c);
            number++;
          }
        }
      }
    }
  }
}

void values(CudaRig& rig) {
  const zo2_dtype floats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};
  for (int activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
    for (const zo2_dtype weight : floats) {
      for (const Path path : {Path::kChosen, Path::kTf32}) {
        if (path == Path::kTf32 && weight != ZO2_F32) continue;
        Case c{67, 37, 83, path, ZO2_F32, weight, floats[activation % 3]};
        c.residual = Case::Residual::kApart;
        c.activation = activation;
        c.real = true;
        run(rig, c);
      }
    }
  }
}

void empty(CudaRig& rig) {
  for (const Path path : {Path::kChosen, Path::kMma128x128, Path::kMma128x64, Path::kSimt}) {
    const zo2_dtype dtype = path == Path::kSimt ? ZO2_F32 : ZO2_F16;
    run(rig, {0, 5, 8, path, dtype, dtype});
    run(rig, {5, 0, 8, path, dtype, dtype});
    Case c{5, 7, 0, path, dtype, dtype};
    c.residual = Case::Residual::kApart;
    run(rig, c);
  }
}

void poisoned(CudaRig& rig) {
  const auto ones = [](int64_t, int64_t) { return 1.0; };
  for (const zo2_dtype dtype : {ZO2_F16, ZO2_F32}) {
    TestMatrix x(dtype, 3, 8, 0, 0, ones), weight(dtype, 4, 8, 0, 0, ones), out(ZO2_F32, 3, 4, 0, 0, ones);
    const uint32_t raised = 1;
    MUST(cudaMemcpy(rig.launch().slot, &raised, sizeof raised, cudaMemcpyHostToDevice));
    MUST(launch_linear(rig.launch(), {out.view(), x.view(), weight.view(), Matrix{}, Matrix{}, ZO2_ACTIVATION_NONE}));
    rig.finish();
    out.download();
    CHECK(out.at(0, 0) == 1.0f && out.at(2, 3) == 1.0f, "a poisoned stream's kernel wrote");
    rig.clear();
  }
}

// The same matrices at rows 2^31 - 1 elements apart: the third row begins 2^32 - 2 elements, 8 GiB in 16 bits, behind
// the first.
void far_apart(CudaRig& rig) {
  constexpr int64_t kStride = (int64_t{1} << 31) - 1, kRows = 3, kDepth = 20, kWeightAt = 64, kOutAt = 128;
  void* memory = nullptr;
  if (cudaMalloc(&memory, static_cast<size_t>(((kRows - 1) * kStride + 256) * 2)) != cudaSuccess) {
    (void)cudaGetLastError();
    printf("far_apart: left out, no 8 GiB of device memory\n");
    return;
  }
  uint16_t* base = static_cast<uint16_t*>(memory);
  const auto value = [](int64_t r, int64_t k) { return static_cast<float>((r * 7 + k * 3) % 11 - 5) / 8; };
  for (int64_t r = 0; r < kRows; r++) {
    uint16_t row[256] = {};
    for (int64_t k = 0; k < kDepth; k++) {
      row[k] = zo2::numerics::f32_to_f16(value(r, k));
      row[kWeightAt + k] = zo2::numerics::f32_to_f16(value(r + 5, k));
    }
    MUST(cudaMemcpy(base + r * kStride, row, sizeof row, cudaMemcpyHostToDevice));
  }
  const LinearArgs args{{base + kOutAt, ZO2_F16, kRows, kRows, kStride},
                        {base, ZO2_F16, kRows, kDepth, kStride},
                        {base + kWeightAt, ZO2_F16, kRows, kDepth, kStride},
                        Matrix{},
                        Matrix{},
                        ZO2_ACTIVATION_NONE};
  MUST(launch_linear(rig.launch(), args));
  rig.finish();
  for (int64_t r = 0; r < kRows; r++) {
    uint16_t row[kRows];
    MUST(cudaMemcpy(row, base + r * kStride + kOutAt, sizeof row, cudaMemcpyDeviceToHost));
    for (int64_t c = 0; c < kRows; c++) {
      float sum = 0;
      for (int64_t k = 0; k < kDepth; k++) sum += value(r, k) * value(c + 5, k);
      CHECK(row[c] == zo2::numerics::f32_to_f16(sum), "row %lld, column %lld", static_cast<long long>(r),
            static_cast<long long>(c));
    }
  }
  MUST(cudaFree(memory));
}

// Tiles are for the device: few rows spread over it, many use the largest.
void choice() {
  using zo2::cuda::choose_linear_tile;
  CHECK(choose_linear_tile(4096, 8192, 132) == LinearTile::k128x128);
  CHECK(choose_linear_tile(64, 2048, 132) == LinearTile::k64x64);
  CHECK(choose_linear_tile(512, 2048, 132) != LinearTile::k128x128);
  CHECK(choose_linear_tile(1, 1, 1) == LinearTile::k64x64);
}

}  // namespace

int main() {
  {
    CudaRig rig;
    shapes(rig);
    dtypes(rig);
    values(rig);
    empty(rig);
    poisoned(rig);
    far_apart(rig);
  }
  choice();
  return zo2::test::report();
}
