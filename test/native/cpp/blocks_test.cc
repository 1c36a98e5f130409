// Blocks of 8-bit weights equal their definition bit for bit, in both sets of kernels: every byte, roundings of weights
// of every size, and prepare over units of them with every option.
#include "numerics/blocks.h"

#include <math.h>
#include <string.h>

#include <limits>
#include <vector>

#include "cpu/ops/noise.h"
#include "cpu/ops/prepare.h"
#include "cpu/ops/prepare_range.h"
#include "test/native/cpp/block_cases.h"
#include "test/native/cpp/check.h"

using namespace zo2;
using cpu::TileKernels;
using test::BlockUnit;
using test::owned_update;
using test::OwnedUpdate;

namespace {

constexpr uint32_t kBlock = numerics::kBlock;

// The value of every byte that is stored, at every scale, is that of the format, and a bf16.
void bytes_are_what_they_stand_for() {
  for (const bool generic : {true, false}) {
    const TileKernels& kernels = cpu::tile_kernels(generic);
    for (const uint32_t dtype : {ZO2_I8, ZO2_E4M3}) {
      const uint32_t least = dtype == ZO2_I8 ? 1 : 10, most = dtype == ZO2_I8 ? 248 : 246;
      for (uint32_t scale = least; scale <= most; ++scale) {
        for (uint32_t first = 0; first < 256; first += kBlock) {
          uint8_t q[kBlock];
          float w[kBlock];
          for (uint32_t i = 0; i < kBlock; ++i) q[i] = static_cast<uint8_t>(first + i);
          kernels.widen_block(static_cast<zo2_dtype>(dtype), q, static_cast<uint8_t>(scale), w);
          for (uint32_t i = 0; i < kBlock; ++i) {
            const bool stored = dtype == ZO2_I8 ? q[i] != 128 : (q[i] & 127) != 127 && q[i] != 128;
            if (!stored) continue;
            const double expected = test::block_value(dtype, q[i], static_cast<uint8_t>(scale));
            const float bf16 = numerics::bf16_to_f32(numerics::f32_to_bf16(w[i]));
            CHECK(static_cast<double>(w[i]) == expected && bf16 == w[i] && (q[i] == 0 || isnormal(w[i])),
                  "%s: dtype %u, byte %u, scale %u: %g, not %g", kernels.name, dtype, q[i], scale,
                  static_cast<double>(w[i]), expected);
          }
        }
      }
      const uint8_t zeros[kBlock] = {};
      float w[kBlock];
      kernels.widen_block(static_cast<zo2_dtype>(dtype), zeros, 0, w);
      for (const float x : w) CHECK(numerics::float_bits(x) == 0);
    }
  }
}

// Blocks of weights of one size and of mixed ones, over the whole range of fp32; ties and the ends of ranges.
void roundings_are_those_of_the_definition() {
  test::Random random(3);
  for (const bool generic : {true, false}) {
    const TileKernels& kernels = cpu::tile_kernels(generic);
    for (const uint32_t dtype : {ZO2_I8, ZO2_E4M3}) {
      for (int trial = 0; trial < 4000; ++trial) {
        std::vector<float> w(kBlock), zero(kBlock, 0.0f);
        std::vector<uint32_t> words(kBlock);
        const int exponent = -149 + static_cast<int>(random.below(276));
        const int spread = trial % 3 == 0 ? 0 : trial % 3 == 1 ? 12 : 40;
        for (uint32_t i = 0; i < kBlock; ++i) {
          const int below = spread == 0 ? 0 : static_cast<int>(random.below(static_cast<uint32_t>(spread)));
          const double x = trial % 4 == 0 ? static_cast<double>(random.below(255)) / 2 : random.real();
          w[i] = static_cast<float>(ldexp(i % 2 == 0 ? x : -x, exponent - below - (trial % 4 == 0 ? 7 : 0)));
          words[i] = static_cast<uint32_t>(random.below(1u << 31)) * 2u + static_cast<uint32_t>(random.below(2));
        }
        // The largest is the largest q exactly, and the next fp32 above it.
        if (trial % 5 == 0) w[7] = ldexpf(dtype == ZO2_I8 ? 127.0f : 448.0f, exponent > 100 ? 100 : exponent);
        if (trial % 10 == 0) w[7] = nextafterf(w[7], HUGE_VALF);
        for (const bool stochastic : {false, true}) {
          const test::ReferenceBlock expected = test::quantised(dtype, w, stochastic ? words.data() : nullptr);
          std::vector<float> values = w;
          uint8_t q[kBlock], scale = 0;
          const bool fits = kernels.replace_block({static_cast<zo2_dtype>(dtype), stochastic, words.data()},
                                                  zero.data(), values.data(), q, &scale);
          bool equal = fits && scale == expected.scale && memcmp(q, expected.q.data(), kBlock) == 0;
          for (uint32_t i = 0; i < kBlock; ++i) {
            const float value = static_cast<float>(test::block_value(dtype, expected.q[i], expected.scale));
            equal = equal && numerics::float_bits(values[i]) == numerics::float_bits(value);
          }
          CHECK(equal, "%s: dtype %u, trial %d, stochastic %d", kernels.name, dtype, trial, stochastic);
          // What is stored is a fixed point: rounded again, by either rule, no value changes.
          std::vector<float> again = values;
          kernels.replace_block({static_cast<zo2_dtype>(dtype), stochastic, words.data()}, zero.data(), again.data(), q,
                                &scale);
          CHECK(memcmp(again.data(), values.data(), kBlock * sizeof(float)) == 0, "%s: dtype %u, trial %d",
                kernels.name, dtype, trial);
        }
      }
    }
  }
}

// The mean of many roundings of one weight is that weight: within five standard deviations of the mean, which a bias of
// a hundredth of a step would exceed.
void stochastic_rounding_has_no_bias() {
  constexpr uint32_t kDraws = 1 << 16;
  for (const uint32_t dtype : {ZO2_I8, ZO2_E4M3}) {
    for (const float x : {0.3f, 0.71f, -0.013f, 0.0002f}) {
      const TileKernels& kernels = cpu::tile_kernels(false);
      double sum = 0, squares = 0;
      for (uint32_t draw = 0; draw < kDraws; draw += kBlock - 1) {
        float w[kBlock] = {1.0f}, u[kBlock] = {};  // the first fixes the scale
        for (uint32_t i = 1; i < kBlock; ++i) w[i] = x;
        uint32_t words[kBlock];
        const numerics::NoiseStream stream = numerics::noise_stream(9, draw, numerics::kPurposeRounding, 0);
        for (uint32_t i = 0; i < kBlock; ++i) words[i] = numerics::philox_at(stream, i >> 2).x[i & 3];
        uint8_t q[kBlock], scale;
        kernels.replace_block({static_cast<zo2_dtype>(dtype), true, words}, u, w, q, &scale);
        for (uint32_t i = 1; i < kBlock; ++i) {
          const double error = static_cast<double>(w[i]) - static_cast<double>(x);
          sum += error;
          squares += error * error;
        }
      }
      const double deviation = sqrt(squares) / kDraws;
      CHECK(squares > 0 && fabs(sum / kDraws) < 5 * deviation, "dtype %u, %g: mean error %g, deviation %g", dtype,
            static_cast<double>(x), sum / kDraws, deviation);
    }
  }
}

struct Case {
  uint32_t wire, scratch;
  zo2_noise_kind noise;
  zo2_rounding rounding;
  uint32_t updates, directions;
  bool store;
  uint32_t sides;
  float eps;
  bool generic;
  float scale = 0.02f;
  float gradient = 0;  // of the second update, where it is not 0
};

uint32_t run_case(const Case& c) {
  const bool buffer = c.noise == ZO2_NOISE_BUFFER;
  const uint64_t base = buffer ? 128 : (uint64_t{1} << 34) - 1024, table = buffer ? 1 << 15 : 0;
  const BlockUnit unit(c.wire, c.scratch, base);
  const contract::Layout layout(nullptr, unit.segments.data(), unit.segments.size());
  std::vector<float> z(table);
  for (uint64_t i = 0; i < table; ++i) z[i] = static_cast<float>(sin(static_cast<double>(i * i % 2003)));
  std::vector<OwnedUpdate> updates;
  for (uint32_t k = 0; k < c.updates; ++k) {
    updates.push_back(owned_update(c.noise, 4 + k, c.directions, table, 1e-3 * static_cast<double>(c.scale) / 0.02));
    if (k == 1 && c.gradient != 0) updates.back().set_coefficients(std::vector<float>(c.directions, c.gradient));
  }
  std::vector<uint8_t> wire(unit.wire_bytes, 0xA5), plus(unit.scratch_bytes, 0xA5), minus = plus;
  unit.fill(wire.data(), c.scale);
  std::vector<uint8_t> wire_expected = wire, plus_expected = plus, minus_expected = minus, wire_single = wire;

  contract::PrepareCommand command = {};
  command.layout = &layout;
  command.wire = wire.data();
  test::set_sides(command, plus.data(), minus.data(), c.eps, c.sides);
  command.rows = unit.rows.data();
  command.row_count = unit.rows.size();
  command.noise = c.noise;
  command.seed = 77;
  command.step = 6;
  command.direction = 2;
  command.rank = test::kRank;
  command.column_step = 5;
  command.z = z.data();
  command.store = c.store;
  command.rounding = c.rounding;
  for (const OwnedUpdate& one : updates) command.updates.push_back(one.pending);
  cpu::ThreadPool pool(2);
  zo2_sticky sticky = {};
  command.sticky = &sticky;
  command.noise_elements = buffer ? table : UINT64_MAX;
  const cpu::PrepareJob job(command, c.generic);
  cpu::PrepareTally flags;
  for (uint64_t s = 0; s < unit.segments.size(); ++s) {
    // Row by row, from the end: nothing depends on their order, nor on where they are cut.
    const uint64_t width = unit.segments[s].row_width, count = cpu::prepare_elements(job, s);
    if (width == 0) {
      cpu::prepare_range(job, s, 0, count, &flags);
      continue;
    }
    for (uint64_t end = count; end > 0; end -= width) {
      const uint64_t middle = end - width + width / 128 * 64;
      if (middle < end) cpu::prepare_range(job, s, middle, end, &flags);
      if (end - width < middle) cpu::prepare_range(job, s, end - width, middle, &flags);
    }
  }
  cpu::prepare_check_updates(job, &flags);

  contract::PrepareCommand expected = command;
  expected.wire = wire_expected.data();
  test::set_sides(expected, plus_expected.data(), minus_expected.data(), c.eps, c.sides);
  uint32_t expected_flags = 0;
  for (const zo2_segment& s : unit.segments) {
    const auto index_of = [&](uint64_t element) { return unit.canonical(s, element); };
    if (s.row_width == 0) {
      for (uint64_t e = 0; e < s.count; ++e) expected_flags |= test::reference_element(expected, s, e, index_of(e));
    } else {
      unit.each_block(s, [&](uint64_t first, uint64_t count) {
        expected_flags |= test::reference_block(expected, s, first, count, index_of);
      });
    }
  }
  CHECK(
      wire == wire_expected && plus == plus_expected && minus == minus_expected,
      "generic %d: wire %u, scratch %u, noise %d, rounding %d, %u updates of %u, store %d, sides %u, eps %g, scale %g",
      c.generic, c.wire, c.scratch, c.noise, c.rounding, c.updates, c.directions, c.store, c.sides,
      static_cast<double>(c.eps), static_cast<double>(c.scale));
  CHECK(flags.flags == expected_flags, "flags %u, not %u", flags.flags, expected_flags);

  // Many pending updates are one after another.
  if (c.store && c.updates > 1) {
    contract::PrepareCommand single = command;
    single.wire = wire_single.data();
    single.side_count = 0;
    for (const OwnedUpdate& one : updates) {
      single.updates = {one.pending};
      cpu::run_prepare(single, pool, c.generic);
    }
    CHECK(wire_single == wire, "wire %u: %u updates at once are not one by one", c.wire, c.updates);
  }
  return flags.flags;
}

void every_case() {
  for (const bool generic : {true, false}) {
    for (const uint32_t wire : {ZO2_I8, ZO2_E4M3}) {
      for (uint32_t scratch = 0; scratch < 3; ++scratch) {
        for (const zo2_noise_kind noise :
             {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_BUFFER, ZO2_NOISE_LOW_RANK}) {
          for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
            run_case({wire, scratch, noise, rounding, 0, 1, true, 2, 1e-3f, generic});
            run_case({wire, scratch, noise, rounding, 1, 1, true, 2, 1e-3f, generic});
            run_case({wire, scratch, noise, rounding, 3, 3, true, 2, 1e-3f, generic});
            run_case({wire, scratch, noise, rounding, 2, 1, false, 2, -1e-2f, generic});
            run_case({wire, scratch, noise, rounding, 3, 2, true, 0, 1e-3f, generic});
            run_case({wire, scratch, noise, rounding, 1, 1, true, 1, 0.0f, generic});
          }
        }
      }
      run_case({wire, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 3, 1, true, 2, 1e-3f, generic, 1e-36f});
      run_case({wire, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_NEAREST, 3, 1, true, 2, 1e-3f, generic, 1e+7f});
      Case huge = {wire, ZO2_F32, ZO2_NOISE_GAUSSIAN, ZO2_ROUND_STOCHASTIC, 3, 1, true, 2, 1e-3f, generic};
      huge.gradient = 3e38f;
      huge.scale = 20.0f;
      CHECK(run_case(huge) == ZO2_STICKY_OVERFLOW, "wire %u: an overflow is noticed", wire);
      huge.gradient = std::numeric_limits<float>::infinity();
      CHECK(run_case(huge) == ZO2_STICKY_NOT_FINITE, "wire %u: an infinite gradient is noticed", wire);
    }
  }
}

}  // namespace

int main() {
  bytes_are_what_they_stand_for();
  roundings_are_those_of_the_definition();
  stochastic_rounding_has_no_bias();
  every_case();
  return test::report();
}
