// What must not differ by a bit between the backends, through both tables in one process: noise, prepare (wire bytes,
// W+ and W-, sticky flags), losses and gradients.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "block_cases.h"
#include "numerics/rounding.h"
#include "random.h"
#include "rig.h"

namespace {

using zo2::test::Random;
using zo2::test::Rig;

constexpr uint64_t kGuard = 256;      // bytes before and after every buffer that must stay as they are
constexpr uint64_t kNoise = 5 << 13;  // elements of a table of buffer noise

struct Prepare {
  uint32_t wire, scratch;
  zo2_noise_kind noise;
  zo2_rounding rounding;
  uint32_t updates, directions;
  bool store;
  uint32_t sides;  // 0: flush, 1: W+ only, 2: both
  float eps;
  float gradient = 0.7f;
  float weight = 0.02f;  // size of the weights
  double learning_rate = 1e-3;
};

bool is_blocked(uint32_t dtype) { return dtype == ZO2_I8 || dtype == ZO2_E4M3; }

uint64_t size_of(uint32_t dtype) { return is_blocked(dtype) ? 1 : dtype == ZO2_F32 ? 4 : 2; }

struct Layout {
  std::vector<zo2_segment> segments;
  uint64_t wire = 0, scratch = 0;

  void add(uint64_t canonical, uint64_t count, const Prepare& p, uint32_t flags, uint64_t row_width = 0,
           uint32_t first_row = 0) {
    zo2_segment s = {};
    s.canonical = canonical;
    s.count = count;
    s.wire_offset = wire;
    s.scratch_offset = scratch;
    s.row_width = row_width;
    s.first_row = first_row;
    s.wire_dtype = p.wire;
    s.scratch_dtype = p.scratch;
    s.flags = flags;
    segments.push_back(s);
    // Different gaps, so that wire and scratch are not aligned alike.
    wire += (count * size_of(p.wire) + 63) / 64 * 64 + 64;
    scratch += (count * size_of(p.scratch) + 63) / 64 * 64;
  }
};

// Buffer noise has few elements; otherwise canonical indices that 32 bits do not hold.
uint64_t base_of(const Prepare& p) { return p.noise == ZO2_NOISE_BUFFER ? 0 : (uint64_t{1} << 34) - 1024; }

// Several chunks, a frozen segment, slices that begin anywhere in their tensor, lengths around what a counter serves,
// gathered rows, and rows of matrices.
Layout layout_of(const Prepare& p) {
  if (is_blocked(p.wire)) {
    const zo2::test::BlockUnit unit(p.wire, p.scratch, base_of(p));
    return {unit.segments, unit.wire_bytes, unit.scratch_bytes};
  }
  const uint64_t base = base_of(p);
  Layout layout;
  layout.add(base, 9001, p, ZO2_SEGMENT_DECAY);
  layout.add(base + 9088, 700, p, ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_DECAY);
  uint64_t at = base + 9856;
  for (uint64_t shift : {1, 3, 4, 61, 127}) {
    for (uint64_t count : {1, 2, 127, 129, 300}) {
      layout.add(at + shift, count, p, count % 2 == 0 ? ZO2_SEGMENT_DECAY : 0);
      at += 512;
    }
  }
  layout.add(at, 0, p, 0);
  layout.add(at, 6 * 200, p, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_DECAY, 200);
  layout.add(at + 4096 + 3, 4 * 77, p, ZO2_SEGMENT_GATHERED, 77);
  layout.add(at + 5632, 4 * 9, p, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_FROZEN, 9);
  layout.add(at + 6144, 60 * 13, p, ZO2_SEGMENT_DECAY, 13);
  layout.add(at + 7168 + 5 * 136, 20 * 136, p, 0, 136, 5);
  return layout;
}

std::vector<uint8_t> weights_of(const Layout& layout, const Prepare& p) {
  std::vector<uint8_t> bytes(layout.wire + 2 * kGuard, 0xa5);
  if (is_blocked(p.wire)) {
    zo2::test::BlockUnit(p.wire, p.scratch, base_of(p)).fill(bytes.data() + kGuard, p.weight);
    return bytes;
  }
  Random random(5);
  for (const zo2_segment& s : layout.segments) {
    for (uint64_t e = 0; e < s.count; e++) {
      const float w = p.weight * static_cast<float>(random.real());
      const uint16_t half = p.wire == ZO2_F16 ? zo2::numerics::f32_to_f16(w) : zo2::numerics::f32_to_bf16(w);
      uint8_t* const to = bytes.data() + kGuard + s.wire_offset + e * size_of(p.wire);
      std::memcpy(to, p.wire == ZO2_F32 ? static_cast<const void*>(&w) : &half, size_of(p.wire));
    }
  }
  return bytes;
}

// Buffers of bytes, wire, plus, minus and sticky, after the command.
struct Outcome {
  std::vector<uint8_t> wire, plus, minus;
  zo2_sticky sticky;
};

Outcome prepare_on(const zo2_backend* backend, const Prepare& p) {
  Rig rig({}, backend);
  zo2_stream* const stream = rig.stream("prepare");
  const Layout layout = layout_of(p);
  std::vector<float> noise(kNoise * p.directions);
  Random random(11);
  for (float& z : noise) z = static_cast<float>(3 * random.real());
  std::vector<zo2_update> updates(p.updates);
  for (uint32_t k = 0; k < p.updates; k++) {
    zo2_update& update = updates[k];
    update.noise = p.noise;
    update.step = 4 + k;
    update.directions = p.directions;
    update.seed = 0xfedcba9876543210u;
    update.learning_rate = p.learning_rate;
    update.weight_decay = 0.1;
    update.rank = 3;
    update.interval = 5;
    std::vector<zo2_coefficient> coefficients;
    for (uint32_t d = 0; d < p.directions; d++) {
      coefficients.push_back({p.gradient - 0.3f * static_cast<float>(d) + 0.01f * static_cast<float>(k), 1});
    }
    update.coefficients = {rig.on_device(stream, coefficients), 0};
    if (p.noise == ZO2_NOISE_BUFFER) update.z = {rig.on_device(stream, noise), 0};
    update.z_stride = kNoise * sizeof(float);
  }
  const std::vector<uint8_t> scratch(layout.scratch + 2 * kGuard, 0xa5);
  zo2_buffer* const wire = rig.on_device(stream, weights_of(layout, p));
  zo2_buffer* const plus = rig.on_device(stream, scratch);
  zo2_buffer* const minus = rig.on_device(stream, scratch);
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});
  zo2_prepare_args args = {};
  args.layout = rig.layout(layout.segments);
  args.wire = {wire, kGuard};
  const zo2_side sides[] = {{{plus, kGuard}, p.eps}, {{minus, kGuard}, -p.eps}};
  args.sides = sides;
  args.side_count = p.sides;
  args.rows = {rig.on_device(stream, std::vector<int32_t>{5, 0, 17, 2}), 0};
  args.row_count = 4;
  args.noise = p.noise;
  args.seed = 77;
  args.step = 6;
  args.direction = 2;
  args.rank = 3;
  args.interval = 4;
  if (p.noise == ZO2_NOISE_BUFFER) args.z = {rig.on_device(stream, noise), 0};
  args.store = p.store;
  args.rounding = p.rounding;
  args.sticky = {sticky, 0};
  args.updates = updates.data();
  args.update_count = p.updates;
  rig.launched(rig.table->prepare(stream, &args, &rig.error));
  Outcome outcome;
  outcome.wire = rig.read<uint8_t>(stream, wire, layout.wire + 2 * kGuard);
  outcome.plus = rig.read<uint8_t>(stream, plus, scratch.size());
  outcome.minus = rig.read<uint8_t>(stream, minus, scratch.size());
  outcome.sticky = rig.read<zo2_sticky>(stream, sticky, 1)[0];
  return outcome;
}

// Where two runs of bytes first differ; -1: nowhere.
long long difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); i++) {
    if (a[i] != b[i]) return static_cast<long long>(i) - static_cast<long long>(kGuard);
  }
  return -1;
}

Outcome test_prepare(const Prepare& p) {
  const Outcome expected = prepare_on(zo2_cpu_backend(), p), got = prepare_on(zo2_cuda_backend(), p);
  char name[200];
  std::snprintf(name, sizeof name,
                "wire %u, scratch %u, noise %d, rounding %d, %u updates of %u, store %d, sides %u, eps %g, g %g",
                p.wire, p.scratch, p.noise, p.rounding, p.updates, p.directions, p.store, p.sides,
                static_cast<double>(p.eps), static_cast<double>(p.gradient));
  const long long wire = difference(got.wire, expected.wire), plus = difference(got.plus, expected.plus);
  const long long minus = difference(got.minus, expected.minus);
  CHECK(wire == -1 && plus == -1 && minus == -1,
        "%s: bytes differ, first of wire at %lld, of W+ at %lld, of W- at %lld", name, wire, plus, minus);
  CHECK(got.sticky.flags == expected.sticky.flags && got.sticky.step == expected.sticky.step,
        "%s: flags %u of step %u, not %u of %u", name, got.sticky.flags, got.sticky.step, expected.sticky.flags,
        expected.sticky.step);
  return expected;
}

void test_every_prepare() {
  for (const uint32_t wire : {ZO2_F32, ZO2_F16, ZO2_BF16, ZO2_I8, ZO2_E4M3}) {
    for (uint32_t scratch = 0; scratch < 3; scratch++) {
      for (const zo2_noise_kind noise :
           {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_BUFFER, ZO2_NOISE_LOW_RANK}) {
        for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
          test_prepare({wire, scratch, noise, rounding, 0, 1, true, 2, 1e-3f});
          test_prepare({wire, scratch, noise, rounding, 1, 1, true, 2, 1e-3f});
          test_prepare({wire, scratch, noise, rounding, 3, 3, true, 2, 1e-3f});
          test_prepare({wire, scratch, noise, rounding, 2, 1, false, 2, -1e-2f});
          test_prepare({wire, scratch, noise, rounding, 1, 2, true, 0, 1e-3f});
          test_prepare({wire, scratch, noise, rounding, 1, 1, true, 1, 0.0f});
        }
      }
    }
  }
  // More updates, and more directions, than a kernel takes by value.
  test_prepare({ZO2_F16, ZO2_BF16, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 9, 2, true, 2, 1e-3f});
  test_prepare({ZO2_F32, ZO2_BF16, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_NEAREST, 2, 64, true, 2, 1e-3f});
  for (const uint32_t wire : {ZO2_I8, ZO2_E4M3}) {
    test_prepare({wire, ZO2_BF16, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 9, 2, true, 2, 1e-3f});
    test_prepare({wire, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_NEAREST, 2, 1, true, 2, 1e-3f, 1e-36f, 1e-36f});
  }
  // What goes wrong: gradients that are not finite, weights that leave fp16 or the range of a block.
  const Outcome infinite =
      test_prepare({ZO2_BF16, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_NEAREST, 2, 2, true, 2, 1e-3f, HUGE_VALF});
  CHECK(infinite.sticky.flags == ZO2_STICKY_NOT_FINITE && infinite.sticky.step == 4, "an infinite gradient is noticed");
  const Outcome overflowing =
      test_prepare({ZO2_F16, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 2, 1, true, 2, 1e-3f, 3e6f, 65504.0f});
  CHECK(overflowing.sticky.flags == ZO2_STICKY_OVERFLOW && overflowing.sticky.step == 4, "an overflow is noticed");
  for (const uint32_t wire : {ZO2_I8, ZO2_E4M3}) {
    Prepare p = {wire, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 2, 1, true, 2, 1e-3f, 1e38f, 1e8f};
    p.learning_rate = 1;
    const Outcome beyond = test_prepare(p);
    CHECK(beyond.sticky.flags == ZO2_STICKY_OVERFLOW && beyond.sticky.step == 4, "wire %u: an overflow is noticed",
          wire);
    p.gradient = HUGE_VALF;
    CHECK(test_prepare(p).sticky.flags == ZO2_STICKY_NOT_FINITE, "wire %u: an infinite gradient is noticed", wire);
  }
}

// The noise itself: W+ of weights that are 0, with eps 1.
void test_noise() {
  for (const zo2_noise_kind noise : {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_LOW_RANK}) {
    for (uint32_t sides : {1, 2}) {
      Prepare p = {ZO2_BF16, ZO2_F32, noise, ZO2_ROUND_NEAREST, 0, 1, false, sides, 1.0f};
      p.weight = 0;
      const Outcome zero = test_prepare(p);
      float first;
      std::memcpy(&first, zero.plus.data() + kGuard, sizeof first);
      CHECK(first != 0 && std::fabs(first) < 6, "W+ is the noise");
    }
  }
}

struct Losses {
  zo2_loss_kind kind;
  std::vector<float> logprobs;
  std::vector<int32_t> choices, examples;
};

// What a step of three probes and two directions finds: the losses, the coefficients, the flags.
struct Step {
  std::vector<double> losses;
  std::vector<zo2_coefficient> coefficients;
  zo2_sticky sticky;
};

constexpr uint32_t kProbes = 3;

Step step_on(const zo2_backend* backend, const std::vector<Losses>& batches, double divisor) {
  Rig rig({}, backend);
  zo2_stream* const stream = rig.stream("loss");
  zo2_buffer* const losses = rig.on_device(stream, std::vector<double>{5, 6, 7});
  zo2_buffer* const coefficients = rig.on_device(stream, std::vector<zo2_coefficient>(2));
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});
  for (uint32_t probe = 0; probe < kProbes; probe++) {
    for (size_t i = 0; i < batches.size(); i++) {
      const Losses& batch = batches[(i + probe) % batches.size()];
      zo2_loss_args args = {};
      args.kind = batch.kind;
      args.values = {rig.on_device(stream, batch.logprobs), 0};
      args.targets = batch.logprobs.size();
      args.choices = {rig.on_device(stream, batch.choices), 0};
      args.choice_count = batch.choices.size() / 2;
      args.examples = {rig.on_device(stream, batch.examples), 0};
      args.example_count = batch.examples.size() / 3;
      args.losses = {losses, 0};
      args.probe = probe;
      args.first = i == 0;
      rig.launched(rig.table->loss(stream, &args, &rig.error));
      // Probes with equal sums would hide a wrong one.
      if (probe > 0 && i == 0) break;
    }
  }
  const zo2_difference differences[] = {{0, 1}, {2, 0}};
  const zo2_gradient_args args = {{losses, 0}, kProbes,           37, differences, 2, divisor, ZO2_SHAPING_NONE,
                                  0,           {coefficients, 0}, 12, {sticky, 0}};
  rig.launched(rig.table->gradient(stream, &args, &rig.error));
  Step step;
  step.losses = rig.read<double>(stream, losses, kProbes);
  step.coefficients = rig.read<zo2_coefficient>(stream, coefficients, 2);
  step.sticky = rig.read<zo2_sticky>(stream, sticky, 1)[0];
  return step;
}

// The coefficients of a rule, as bits.
std::vector<uint32_t> ruled_on(const zo2_backend* backend, const std::vector<double>& losses,
                               const std::vector<zo2_difference>& differences, zo2_shaping shaping,
                               uint32_t normalised) {
  Rig rig({}, backend);
  zo2_stream* const stream = rig.stream("gradient");
  const auto probes = static_cast<uint32_t>(losses.size()), directions = static_cast<uint32_t>(differences.size());
  zo2_buffer* const sums = rig.on_device(stream, losses);
  zo2_buffer* const found = rig.buffer(ZO2_BUFFER_DEVICE, directions * sizeof(zo2_coefficient));
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});
  const zo2_gradient_args args = {{sums, 0},  probes,     3, differences.data(), directions, 2e-3, shaping,
                                  normalised, {found, 0}, 6, {sticky, 0}};
  rig.launched(rig.table->gradient(stream, &args, &rig.error));
  std::vector<uint32_t> bits;
  for (const zo2_coefficient& c : rig.read<zo2_coefficient>(stream, found, directions)) {
    uint32_t value;
    std::memcpy(&value, &c.value, sizeof value);
    // A NaN's sign and payload are each processor's own.
    bits.insert(bits.end(), {std::isnan(c.value) ? 0x7fc00000u : value, c.finite});
  }
  bits.push_back(rig.read<zo2_sticky>(stream, sticky, 1)[0].flags);
  return bits;
}

void test_rules() {
  Random random(11);
  for (const uint32_t directions : {1, 2, 3, 7, 64}) {
    for (const bool antithetic : {false, true}) {
      std::vector<zo2_difference> differences;
      for (uint32_t d = 0; d < directions; d++) {
        differences.push_back({2 * d, antithetic ? 2 * d + 1 : ZO2_NO_PROBE});
        if (!antithetic) differences.back().minuend = d + 1;
      }
      for (const int kind : {0, 1, 2, 3}) {
        std::vector<double> losses;
        for (uint32_t p = 0; p < 2 * directions + 1; p++) {
          const double loss = 2 + 1e-3 * random.real();
          // Few values, one that is not finite, all the same.
          losses.push_back(kind == 1 ? std::round(random.real() * 3) : kind == 3 ? 0.1 : loss);
        }
        if (kind == 2) losses[1] = std::numeric_limits<double>::infinity();
        for (const zo2_shaping shaping : {ZO2_SHAPING_NONE, ZO2_SHAPING_ZSCORE, ZO2_SHAPING_RANK})
          for (const uint32_t normalised : {0, 1})
            CHECK(ruled_on(zo2_cuda_backend(), losses, differences, shaping, normalised) ==
                      ruled_on(zo2_cpu_backend(), losses, differences, shaping, normalised),
                  "%u directions, antithetic %d, losses of kind %d, shaping %d, normalised %u", directions, antithetic,
                  kind, shaping, normalised);
      }
    }
  }
}

void test_loss() {
  Random random(3);
  for (const zo2_loss_kind kind : {ZO2_LOSS_TOKENS, ZO2_LOSS_CHOICES_MEAN, ZO2_LOSS_CHOICES_SUM}) {
    for (const int32_t targets : {1, 31, 32, 33, 1000, 5000}) {
      std::vector<Losses> batches(2);
      for (Losses& batch : batches) {
        batch.kind = kind;
        for (int32_t t = 0; t < targets; t++)
          batch.logprobs.push_back(static_cast<float>(-std::exp(4 * random.real())));
        for (int32_t begin = 0; begin < targets;) {
          const int32_t end = std::min<int32_t>(targets, begin + 1 + static_cast<int32_t>(random.below(70)));
          batch.choices.insert(batch.choices.end(), {begin, end});
          begin = end;
        }
        const int32_t choices = static_cast<int32_t>(batch.choices.size() / 2);
        for (int32_t begin = 0; begin < choices;) {
          const int32_t end = std::min<int32_t>(choices, begin + 1 + static_cast<int32_t>(random.below(5)));
          batch.examples.insert(batch.examples.end(), {begin, end, static_cast<int32_t>(random.below(end - begin))});
          begin = end;
        }
      }
      for (const double divisor : {2e-3, 2e-300}) {
        const Step expected = step_on(zo2_cpu_backend(), batches, divisor);
        const Step got = step_on(zo2_cuda_backend(), batches, divisor);
        // Sums of log-probabilities are the same bits; scores go through exp and log, whose last bits are each
        // library's own.
        const bool exact = kind == ZO2_LOSS_TOKENS;
        const auto close = [&](double a, double b) {
          return a == b || (!exact && std::fabs(a - b) <= 1e-12 * std::fabs(b));
        };
        for (uint32_t p = 0; p < kProbes; p++) {
          CHECK(close(got.losses[p], expected.losses[p]), "kind %d, %d targets, probe %u: %.17g, not %.17g", kind,
                targets, p, got.losses[p], expected.losses[p]);
        }
        for (size_t d = 0; d < 2; d++) {
          const double g = static_cast<double>(got.coefficients[d].value),
                       want = static_cast<double>(expected.coefficients[d].value);
          CHECK(g == want || (!exact && std::fabs(g - want) <= 1e-6 * std::fabs(want)),
                "kind %d, %d targets, direction %zu: g is %.9g, not %.9g", kind, targets, d, g, want);
          CHECK(got.coefficients[d].finite == expected.coefficients[d].finite, "kind %d, %d targets, direction %zu",
                kind, targets, d);
        }
        CHECK(got.sticky.flags == expected.sticky.flags && got.sticky.step == expected.sticky.step,
              "kind %d, %d targets: flags %u", kind, targets, got.sticky.flags);
      }
    }
  }
}

}  // namespace

int main() {
  test_every_prepare();
  test_noise();
  test_loss();
  test_rules();
  return zo2::test::report();
}
