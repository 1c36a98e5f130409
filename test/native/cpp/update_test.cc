// What an update promises beyond its formula: decay that survives fp32, weights that perturbation never damages, errors
// that leave the weights alone, and pending updates that equal updates applied at once.
#include <math.h>
#include <string.h>

#include <thread>
#include <vector>

#include "cpu/ops/noise.h"
#include "cpu/ops/prepare_range.h"
#include "numerics/coefficients.h"
#include "numerics/update.h"
#include "test/native/cpp/check.h"
#include "test/native/cpp/prepare_reference.h"

using namespace zo2;
using contract::PrepareCommand;
using cpu::PrepareJob;
using cpu::PrepareTally;
using test::OwnedUpdate;

// A unit of one segment, with its scratch.
struct Weights {
  zo2_segment segment;
  contract::Layout layout;
  std::vector<unsigned char> wire, plus, minus;

  Weights(uint32_t dtype, uint64_t count)
      : segment{1 << 20, count, 0, 0, 0, dtype, dtype, ZO2_SEGMENT_DECAY, 0, 0},
        layout(nullptr, &segment, 1),
        wire(count * 4),
        plus(count * 4),
        minus(count * 4) {
    for (uint64_t i = 0; i < count; ++i) set(i, 0.02f * static_cast<float>(sin(static_cast<double>(i) * 0.7 + 0.3)));
  }
  void set(uint64_t i, float w) {
    test::write_as(segment.wire_dtype, w, wire.data() + i * test::dtype_bytes(segment.wire_dtype));
  }
  float get(uint64_t i) const {
    return test::read_as(segment.wire_dtype, wire.data() + i * test::dtype_bytes(segment.wire_dtype));
  }
  PrepareCommand command() {
    PrepareCommand command = {};
    command.layout = &layout;
    command.wire = wire.data();
    test::set_sides(command, plus.data(), minus.data(), 1e-3f);
    command.seed = 5;
    command.store = true;
    return command;
  }
};

static OwnedUpdate update_of(uint32_t step, const std::vector<float>& g, double learning_rate, double weight_decay) {
  OwnedUpdate update;
  update.pending.noise = ZO2_NOISE_GAUSSIAN;
  update.pending.step = step;
  update.pending.seed = 5;
  update.pending.learning_rate = learning_rate;
  update.pending.weight_decay = weight_decay;
  update.set_coefficients(g);
  return update;
}

static PrepareCommand with(PrepareCommand command, const std::vector<OwnedUpdate>& updates) {
  for (const OwnedUpdate& update : updates) command.updates.push_back(update.pending);
  return command;
}

static PrepareTally prepared(const PrepareCommand& bare, const std::vector<OwnedUpdate>& updates,
                             bool generic = false) {
  const PrepareCommand command = with(bare, updates);
  const PrepareJob job(command, generic);
  PrepareTally flags;
  cpu::prepare_check_updates(job, &flags);
  cpu::prepare_range(job, 0, 0, cpu::prepare_elements(job, 0), &flags);
  return flags;
}

// lr wd = 1e-8 a step is less than half the spacing of fp32: it survives only because the noise term dithers the
// subtraction.
static void decay_survives_small_learning_rates() {
  const uint64_t count = 16384;
  const uint32_t steps = 2000;
  const double learning_rate = 1e-7, weight_decay = 0.1;
  Weights decayed(ZO2_F32, count), kept(ZO2_F32, count);
  const Weights start = kept;
  for (uint32_t step = 0; step < steps; ++step) {
    const float g = static_cast<float>(3.0 * sin(step * 0.37));
    for (Weights* weights : {&decayed, &kept}) {
      PrepareCommand command = weights->command();
      command.side_count = 0;
      prepared(command, {update_of(step, {g}, learning_rate, weights == &decayed ? weight_decay : 0.0)});
    }
  }
  // The part of w that went away, as the projection of the difference on the weights.
  double along = 0, square = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const double w = static_cast<double>(start.get(i));
    along += (static_cast<double>(kept.get(i)) - static_cast<double>(decayed.get(i))) * w;
    square += w * w;
  }
  const double realised = along / square, ideal = 1 - pow(1 - learning_rate * weight_decay, steps);
  printf("decay over %u steps: %.5g, ideal %.5g (%+.2f %%)\n", steps, realised, ideal, 100 * (realised / ideal - 1));
  CHECK(fabs(realised / ideal - 1) < 0.02, "realised %.6g, ideal %.6g", realised, ideal);
}

static void perturbing_never_changes_the_wire() {
  for (const uint32_t dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    Weights weights(dtype, 1000);
    const std::vector<unsigned char> before = weights.wire;
    for (uint32_t step = 0; step < 100; ++step) {
      PrepareCommand command = weights.command();
      command.step = step;
      prepared(command, {});
    }
    CHECK(weights.wire == before, "dtype %u: 100 perturbations changed the weights", dtype);
  }
}

static void pending_updates_equal_updates_at_once() {
  const std::vector<OwnedUpdate> updates = {
      update_of(1, {0.5f}, 1e-3, 0.1), update_of(2, {-2.0f, 1.0f, 3.0f}, 2e-3, 0.1), update_of(3, {1.5f}, 1e-3, 0.0)};
  for (const uint32_t dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
      Weights together(dtype, 777), one_by_one(dtype, 777), unstored(dtype, 777);
      const std::vector<unsigned char> before = unstored.wire;
      PrepareCommand command = together.command();
      command.rounding = rounding;
      command.step = 4;
      prepared(command, updates);
      for (const OwnedUpdate& update : updates) {
        command = one_by_one.command();
        command.rounding = rounding;
        command.side_count = 0;
        prepared(command, {update});
      }
      CHECK(together.wire == one_by_one.wire, "dtype %u, rounding %d", dtype, rounding);
      command = one_by_one.command();
      command.step = 4;
      prepared(command, {});
      CHECK(together.plus == one_by_one.plus && together.minus == one_by_one.minus, "dtype %u, rounding %d: scratch",
            dtype, rounding);
      command = unstored.command();
      command.rounding = rounding;
      command.step = 4;
      command.store = false;
      prepared(command, updates);
      CHECK(unstored.wire == before, "dtype %u: the wire changed without store", dtype);
      CHECK(unstored.plus == together.plus && unstored.minus == together.minus, "dtype %u: scratch without store",
            dtype);
    }
  }
}

static void a_gradient_that_is_not_finite_only_decays() {
  for (const float bad : {HUGE_VALF, -HUGE_VALF, NAN}) {
    Weights weights(ZO2_F32, 300), expected(ZO2_F32, 300);
    const PrepareTally flags =
        prepared(weights.command(), {update_of(8, {1.0f}, 1e-2, 0.1), update_of(9, {2.0f, bad}, 1e-2, 0.1)});
    const PrepareTally clean =
        prepared(expected.command(), {update_of(8, {1.0f}, 1e-2, 0.1), update_of(9, {0.0f, 0.0f}, 1e-2, 0.1)});
    CHECK(weights.wire == expected.wire, "g = %g is not g = 0", static_cast<double>(bad));
    CHECK(flags.flags == ZO2_STICKY_NOT_FINITE && flags.first_update == 1, "flags %u at %u", flags.flags,
          flags.first_update);
    CHECK(clean.flags == 0, "flags %u", clean.flags);
    CHECK(weights.get(0) != Weights(ZO2_F32, 1).get(0), "the weights did not move at all");
  }
}

static void overflow_keeps_the_element_and_is_reported() {
  const struct {
    uint32_t dtype;
    float largest;
    double rate;
  } cases[] = {{ZO2_F32, 3.4028235e38f, 1e37}, {ZO2_F16, 65504.0f, 1e4}, {ZO2_BF16, 3.3895314e38f, 1e37}};
  for (const auto& c : cases) {
    for (const bool generic : {true, false}) {
      for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
        Weights weights(c.dtype, 400);
        weights.set(0, c.largest);
        weights.set(399, -c.largest);
        // g has the sign that pushes one of the two outwards, whichever way its noise points.
        float z[400];
        cpu::fill_noise(z, weights.segment.canonical, 400, ZO2_NOISE_GAUSSIAN, 5, 3, 0);
        PrepareCommand command = weights.command();
        command.rounding = rounding;
        const float g = z[0] > 0 ? -1.0f : 1.0f;
        const PrepareTally flags =
            prepared(command, {update_of(2, {0.0f}, 1.0, 0.0), update_of(3, {g * 20}, c.rate, 0.0)}, generic);
        CHECK(flags.flags == ZO2_STICKY_OVERFLOW && flags.first_update == 1, "dtype %u: flags %u at %u", c.dtype,
              flags.flags, flags.first_update);
        CHECK(weights.get(0) == c.largest, "dtype %u: the element is %g", c.dtype, static_cast<double>(weights.get(0)));
        bool finite = true;
        for (uint64_t i = 0; i < 400; ++i) finite &= static_cast<bool>(isfinite(weights.get(i)));
        CHECK(finite, "dtype %u: a weight is infinite", c.dtype);
        zo2_sticky sticky = {};
        const std::vector<OwnedUpdate> updates = {update_of(2, {0.0f}, 1.0, 0.0), update_of(3, {g}, 1.0, 0.0)};
        const PrepareCommand updated = with(command, updates);
        const PrepareJob job(updated, generic);
        cpu::raise_sticky(&sticky, job, flags);
        CHECK(sticky.flags == ZO2_STICKY_OVERFLOW && sticky.step == 3, "sticky %u, step %u", sticky.flags, sticky.step);
        cpu::raise_sticky(&sticky, job, {ZO2_STICKY_NOT_FINITE, 0});
        CHECK(sticky.flags == (ZO2_STICKY_OVERFLOW | ZO2_STICKY_NOT_FINITE) && sticky.step == 3,
              "the first step stays: %u", sticky.step);
      }
    }
  }
}

// An element beyond the end of a range is padding of its tile: it must not raise a flag.
static void padding_raises_no_flag() {
  Weights weights(ZO2_F16, 3);
  float z[128];
  cpu::fill_noise(z, weights.segment.canonical, 128, ZO2_NOISE_GAUSSIAN, 5, 3, 0);
  float largest = 0, inside = 0;
  for (int i = 0; i < 128; ++i) (i < 3 ? inside : largest) = fmaxf(i < 3 ? inside : largest, fabsf(z[i]));
  const float rate = 65504.0f / (0.5f * (largest + inside));
  CHECK(inside < largest, "choose another step: the padding must have the larger noise");
  for (const bool generic : {true, false}) {
    const PrepareTally flags =
        prepared(weights.command(), {update_of(3, {1.0f}, static_cast<double>(rate), 0.0)}, generic);
    CHECK(flags.flags == 0, "generic %d", generic);
  }
}

static void two_threads_write_what_one_writes() {
  const std::vector<OwnedUpdate> updates = {update_of(1, {0.5f, -1.0f}, 1e-3, 0.1)};
  Weights one(ZO2_BF16, 100000), two(ZO2_BF16, 100000);
  prepared(one.command(), updates);
  const PrepareCommand command = with(two.command(), updates);
  const PrepareJob job(command, false);
  PrepareTally first, second;
  std::thread other([&] { cpu::prepare_range(job, 0, 50048, 100000, &second); });
  cpu::prepare_range(job, 0, 0, 50048, &first);
  other.join();
  CHECK(one.wire == two.wire && one.plus == two.plus && one.minus == two.minus);
}

static void flags_of_ranges_merge_in_any_order() {
  const PrepareTally parts[3] = {{ZO2_STICKY_OVERFLOW, 2}, {}, {ZO2_STICKY_NOT_FINITE, 1}};
  const int orders[3][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
  for (const auto& order : orders) {
    PrepareTally all;
    for (const int part : order) cpu::merge_tallies(&all, parts[part]);
    CHECK(all.flags == (ZO2_STICKY_OVERFLOW | ZO2_STICKY_NOT_FINITE) && all.first_update == 1, "flags %u, first %u",
          all.flags, all.first_update);
  }
}

static void coefficients_are_rounded_once() {
  // lr g / D evaluated in fp32 would differ here in the last place.
  const float a = numerics::update_coefficient(1e-7, 0.3f, 3);
  CHECK(a == static_cast<float>(static_cast<long double>(1e-7) * 0.3f / 3), "%a", static_cast<double>(a));
  CHECK(numerics::decay_coefficient(1e-7, 0.1) == 1e-8f, "%a",
        static_cast<double>(numerics::decay_coefficient(1e-7, 0.1)));
  // The losses agree in 9 digits; fp32 losses would give 0.
  const double g = numerics::difference_quotient(2.0000000012, 2.0, 2e-3);
  CHECK(fabs(g / 6e-7 - 1) < 1e-6, "%g", g);
}

int main() {
  decay_survives_small_learning_rates();
  perturbing_never_changes_the_wire();
  pending_updates_equal_updates_at_once();
  a_gradient_that_is_not_finite_only_decays();
  overflow_keeps_the_element_and_is_reported();
  padding_raises_no_flag();
  two_threads_write_what_one_writes();
  flags_of_ranges_merge_in_any_order();
  coefficients_are_rounded_once();
  return test::report();
}
