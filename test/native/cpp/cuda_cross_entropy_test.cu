// The streamed head at kernel level, against log-softmax in fp64 of the same rounded operands.
#include "test/native/cpp/cuda_operands.h"

#include "cuda/ops/cross_entropy.cuh"

namespace {

using zo2::cuda::CrossEntropyArgs;
using zo2::cuda::Launch;
using zo2::cuda::Matrix;
using zo2::cuda::Traits;
using zo2::test::CudaRig;
using zo2::test::Guarded;
using zo2::test::name_of;
using zo2::test::Random;
using zo2::test::TestMatrix;
using zo2::test::to_dtype;

struct Case {
  int64_t rows, depth;
  std::vector<int64_t> tiles;  // vocabulary entries of each launch
  int multiprocessors = 132;
  zo2_dtype x = ZO2_BF16, weight = ZO2_BF16;
  bool tf32 = false;
  int64_t gap = 0;
  double size = 1;  // of the elements of x
};

struct Target {
  int32_t row, entry;
};

// No target for some rows, several for others, in no order; ignored ones; one that no tile has.
std::vector<Target> draw_targets(Random& random, int64_t rows, int64_t vocabulary) {
  std::vector<Target> targets = {{-5, -100}, {0, static_cast<int32_t>(vocabulary)}};
  for (int64_t i = 0; i < rows + 3 && rows > 0 && vocabulary > 0; i++) {
    const int32_t row = static_cast<int32_t>(random.below((rows + 1) / 2) * 2);
    targets.push_back({std::min(row, static_cast<int32_t>(rows - 1)), static_cast<int32_t>(random.below(vocabulary))});
    if (i % 5 == 0) targets.push_back({row, -100});
  }
  if (rows > 0 && vocabulary > 0)
    targets.push_back({static_cast<int32_t>(rows - 1), static_cast<int32_t>(vocabulary - 1)});
  if (rows == 0) targets.pop_back();
  return targets;
}

Matrix of(const Guarded& memory, zo2_dtype dtype, int64_t rows, int64_t cols, int64_t stride) {
  return {memory.at(), dtype, rows, cols, stride};
}

// The log-probabilities of one run, checked.
std::vector<float> run(CudaRig& rig, const Case& c) {
  char name[160];
  int64_t vocabulary = 0;
  for (const int64_t n : c.tiles) vocabulary += n;
  snprintf(name, sizeof name, "%lld x %lld over %lld in %zu tiles, %d multiprocessors, x %s, weight %s%s, gap %lld",
           static_cast<long long>(c.rows), static_cast<long long>(c.depth), static_cast<long long>(vocabulary),
           c.tiles.size(), c.multiprocessors, name_of(c.x), name_of(c.weight), c.tf32 ? " (tf32)" : "",
           static_cast<long long>(c.gap));
  Random random(static_cast<uint64_t>(c.rows * 1000003 + vocabulary * 1009 + c.depth));
  TestMatrix x(c.x, c.rows, c.depth, c.gap, c.gap % 8, [&](int64_t, int64_t) { return c.size * random.real(); });
  TestMatrix weight(c.weight, vocabulary, c.depth, c.gap, c.gap % 8, [&](int64_t, int64_t) { return random.real(); });
  const std::vector<Target> targets = draw_targets(random, c.rows, vocabulary);
  const int64_t count = static_cast<int64_t>(targets.size());
  constexpr int64_t kTargetStride = 3, kStateStride = 5, kLogprobStride = 2;
  std::vector<int32_t> table;
  for (const Target& t : targets) table.insert(table.end(), {t.row, t.entry, 0x7fffffff});
  const Guarded table_memory(table);
  const Guarded logprob(static_cast<uint64_t>(((count - 1) * kLogprobStride + 1) * 4));
  // What the state holds before the first tile must not matter.
  const Guarded state(std::vector<float>(static_cast<size_t>(c.rows > 0 ? (c.rows - 1) * kStateStride + 2 : 0), NAN));

  const Traits traits = {80, c.multiprocessors, 99 << 10, c.tf32};
  Launch at = rig.launch();
  at.traits = &traits;
  int64_t start = 0;
  for (size_t i = 0; i < c.tiles.size(); i++) {
    const int64_t most = *std::max_element(c.tiles.begin(), c.tiles.end());
    const Guarded scratch(zo2::cuda::cross_entropy_scratch_bytes(c.rows, most, traits));
    const int flags = (i == 0 ? ZO2_TILE_FIRST : 0) | (i + 1 == c.tiles.size() ? ZO2_TILE_LAST : 0);
    Matrix tile = weight.view();
    tile.data = zo2::cuda::element_address(tile, start, 0);
    tile.rows = c.tiles[i];
    MUST(launch_cross_entropy(
        at, {of(logprob, ZO2_F32, count, 1, kLogprobStride), of(state, ZO2_F32, c.rows, 2, kStateStride), x.view(),
             tile, of(table_memory, ZO2_I32, count, 2, kTargetStride), start, flags, scratch.at(),
             zo2::cuda::cross_entropy_scratch_bytes(c.rows, most, traits)}));
    rig.finish();
    CHECK(scratch.intact(), "%s: wrote outside of the scratch", name);
    start += c.tiles[i];
  }
  CHECK(logprob.intact() && state.intact() && table_memory.intact(), "%s: wrote outside of its results", name);

  const auto operand = [&](float v) {
    if (c.weight != ZO2_F32) return static_cast<double>(to_dtype(v, c.weight));
    return static_cast<double>(c.tf32 ? zo2::test::to_tf32_reference(v) : v);
  };
  const auto logit = [&](int64_t r, int64_t v) {
    double sum = 0;
    for (int64_t k = 0; k < c.depth; k++) sum += operand(x.at(r, k)) * operand(weight.at(v, k));
    return sum;
  };
  std::vector<double> log_sum;
  for (int64_t r = 0; r < c.rows; r++) {
    std::vector<double> logits;
    for (int64_t v = 0; v < vocabulary; v++) logits.push_back(logit(r, v));
    double maximum = -INFINITY, sum = 0;
    for (const double l : logits) maximum = std::max(maximum, l);
    for (const double l : logits) sum += std::exp(l - maximum);
    log_sum.push_back(maximum + std::log(sum));
  }
  const std::vector<float> strided = logprob.get<float>();
  std::vector<float> found;
  for (int64_t t = 0; t < count; t++) {
    const Target& target = targets[static_cast<size_t>(t)];
    const float got = strided[static_cast<size_t>(t * kLogprobStride)];
    found.push_back(got);
    if (target.entry == -100) {
      CHECK(got == 0.0f, "%s: ignored target %lld has %g", name, static_cast<long long>(t), static_cast<double>(got));
    } else if (target.entry >= vocabulary) {
      CHECK(std::isnan(got), "%s: target %lld without a tile has %g", name, static_cast<long long>(t),
            static_cast<double>(got));
    } else {
      const double want = logit(target.row, target.entry) - log_sum[static_cast<size_t>(target.row)];
      const double room = 4e-6 + 1e-6 * static_cast<double>(c.depth) * c.size;
      if (!CHECK(std::fabs(static_cast<double>(got) - want) <= room, "%s: target %lld has %.9g, not %.9g", name,
                 static_cast<long long>(t), static_cast<double>(got), want)) {
        break;
      }
    }
  }
  return found;
}

void shapes(CudaRig& rig) {
  // One multiprocessor: blocks walk over several tiles; 132: one tile each. 64 rows and fewer take small tiles.
  for (const int multiprocessors : {1, 3, 132}) {
    run(rig, {1, 33, {1}, multiprocessors});
    run(rig, {64, 40, {700}, multiprocessors});
    run(rig, {65, 70, {129}, multiprocessors});
    run(rig, {261, 24, {900}, multiprocessors});
    run(rig, {63, 31, {127, 128, 130}, multiprocessors});
    run(rig, {129, 64, {64, 1, 513}, multiprocessors, ZO2_F32, ZO2_F32});
  }
  run(rig, {5, 0, {70}});
  run(rig, {0, 8, {70}});
  run(rig, {3, 8, {0, 9, 0}});
}

void dtypes(CudaRig& rig) {
  const zo2_dtype floats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};
  for (const zo2_dtype x : floats) {
    for (const zo2_dtype weight : floats) {
      for (const bool tf32 : {false, true}) {
        if (tf32 && weight != ZO2_F32) continue;
        for (const int64_t gap : {0, 1, 8}) {
          for (const int64_t rows : {20, 90}) run(rig, {rows, 48, {150, 70}, 2, x, weight, tf32, gap});
        }
      }
    }
  }
}

// Logits whose exponentials overflow and vanish; and a row with a NaN, which is its targets' alone.
void extremes(CudaRig& rig) {
  run(rig, {70, 64, {300, 200}, 2, ZO2_F32, ZO2_F32, false, 0, 300});
  TestMatrix x(ZO2_F32, 2, 4, 0, 0, [](int64_t r, int64_t c) { return r == 1 && c == 2 ? NAN : 1.0; });
  TestMatrix weight(ZO2_F32, 3, 4, 0, 0, [](int64_t, int64_t) { return 0.5; });
  const Guarded targets(std::vector<int32_t>{0, 1, 1, 1}), logprob(8), state(16);
  const Traits traits = {80, 2, 99 << 10, false};
  Launch at = rig.launch();
  at.traits = &traits;
  const Guarded scratch(zo2::cuda::cross_entropy_scratch_bytes(2, 3, traits));
  const CrossEntropyArgs args{of(logprob, ZO2_F32, 2, 1, 1),
                              of(state, ZO2_F32, 2, 2, 2),
                              x.view(),
                              weight.view(),
                              of(targets, ZO2_I32, 2, 2, 2),
                              0,
                              ZO2_TILE_FIRST | ZO2_TILE_LAST,
                              scratch.at(),
                              cross_entropy_scratch_bytes(2, 3, traits)};
  MUST(launch_cross_entropy(at, args));
  rig.finish();
  const std::vector<float> found = logprob.get<float>();
  CHECK(std::fabs(found[0] + std::log(3.0f)) < 1e-6f && std::isnan(found[1]), "%g %g", static_cast<double>(found[0]),
        static_cast<double>(found[1]));

  CrossEntropyArgs small = args;
  small.scratch_bytes = 8;
  CHECK(launch_cross_entropy(at, small) == cudaErrorInvalidValue, "too small a scratch was taken");
}

void poisoned(CudaRig& rig) {
  TestMatrix x(ZO2_BF16, 2, 8, 0, 0, [](int64_t, int64_t) { return 1.0; }),
      weight(ZO2_BF16, 3, 8, 0, 0, [](int64_t, int64_t) { return 0.5; });
  const std::vector<float> before = {7, 8, 9, 10};
  const Guarded targets(std::vector<int32_t>{0, 1, 1, 1}), logprob(std::vector<float>{5, 6}), state(before),
      scratch(1 << 16);
  const uint32_t raised = 1;
  MUST(cudaMemcpy(rig.launch().slot, &raised, sizeof raised, cudaMemcpyHostToDevice));
  MUST(launch_cross_entropy(rig.launch(),
                            {of(logprob, ZO2_F32, 2, 1, 1), of(state, ZO2_F32, 2, 2, 2), x.view(), weight.view(),
                             of(targets, ZO2_I32, 2, 2, 2), 0, ZO2_TILE_FIRST | ZO2_TILE_LAST, scratch.at(), 1 << 16}));
  rig.finish();
  CHECK(state.get<float>() == before && logprob.get<float>() == (std::vector<float>{5, 6}),
        "a poisoned stream's kernel wrote");
  rig.clear();
}

// Enough for the rows of any smaller batch too, as the runtime allocates it once for the largest.
void scratch_bound() {
  const Traits traits = {80, 7, 99 << 10, false};
  size_t largest = 0;
  bool monotone = true;
  for (int64_t rows = 1; rows < 3000; rows++) {
    const size_t bytes = zo2::cuda::cross_entropy_scratch_bytes(rows, 50000, traits);
    monotone = monotone && bytes >= largest;
    largest = bytes;
  }
  CHECK(monotone);
}

// The same run gives the same bits.
void repeats(CudaRig& rig) {
  const Case c{90, 48, {300, 170}, 3};
  const std::vector<float> once = run(rig, c), again = run(rig, c);
  CHECK(once.size() == again.size() && memcmp(once.data(), again.data(), once.size() * sizeof(float)) == 0);
}

}  // namespace

int main() {
  {
    CudaRig rig;
    shapes(rig);
    dtypes(rig);
    extremes(rig);
    poisoned(rig);
    repeats(rig);
  }
  scratch_bound();
  return zo2::test::report();
}
