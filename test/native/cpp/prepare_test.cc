// The prepare pass equals its definition bit for bit: every pair of dtypes, every kind of noise, every option, wherever
// ranges are cut.
#include "cpu/ops/prepare_range.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "cpu/ops/noise.h"
#include "test/native/cpp/check.h"
#include "test/native/cpp/prepare_reference.h"

using namespace zo2;
using cpu::PrepareJob;
using cpu::PrepareTally;
using test::owned_update;
using test::OwnedUpdate;

// Bytes with a guard before and after.
class Guarded {
 public:
  explicit Guarded(uint64_t bytes) : all_(bytes + 2 * kGuard, 0xA5) {}
  unsigned char* data() { return all_.data() + kGuard; }
  uint64_t size() const { return all_.size() - 2 * kGuard; }
  bool intact() const {
    for (uint64_t i = 0; i < kGuard; ++i) {
      if (all_[i] != 0xA5 || all_[all_.size() - 1 - i] != 0xA5) return false;
    }
    return true;
  }

 private:
  static constexpr uint64_t kGuard = 64;
  std::vector<unsigned char> all_;
};

// A unit of a vector, a frozen one, a slice, a gathered table, and matrices of narrow and of wide rows, of which one
// begins inside its matrix; canonical indices that cross 2^32 and 2^34.
struct Unit {
  std::vector<zo2_segment> segments;
  std::vector<int32_t> rows = {5, 0, 17, 2};
  uint64_t wire_bytes = 0;
  uint64_t scratch_bytes = 0;

  Unit(uint32_t wire, uint32_t scratch, uint64_t base) {
    add(base, 1500, wire, scratch, ZO2_SEGMENT_DECAY, 0);
    add(base + 1536, 700, wire, scratch, ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_DECAY, 0);
    add(base + 2304 + 131, 333, wire, scratch, 0, 0);  // a slice that starts inside its tensor
    add(base + 3072, 4 * 200, wire, scratch, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_DECAY, 200);
    add(base + 7168, 60 * 13, wire, scratch, ZO2_SEGMENT_DECAY, 13);
    add(base + 7168 + 60 * 13 + 2 * 700, 2 * 700, wire, scratch, 0, 700, 2);
  }
  void add(uint64_t canonical, uint64_t count, uint32_t wire, uint32_t scratch, uint32_t flags, uint64_t row_width,
           uint32_t first_row = 0) {
    zo2_segment segment = {};
    segment.canonical = canonical;
    segment.count = count;
    segment.wire_offset = wire_bytes;
    segment.scratch_offset = scratch_bytes;
    segment.row_width = row_width;
    segment.wire_dtype = wire;
    segment.scratch_dtype = scratch;
    segment.flags = flags;
    segment.first_row = first_row;
    segments.push_back(segment);
    wire_bytes += (count * test::dtype_bytes(wire) + 63) / 64 * 64;
    scratch_bytes += (count * test::dtype_bytes(scratch) + 63) / 64 * 64;
  }
  void fill(unsigned char* wire) const {
    for (const zo2_segment& segment : segments) {
      for (uint64_t e = 0; e < segment.count; ++e) {
        const float w = 0.02f * static_cast<float>(
                                    sin(static_cast<double>(e) * 1.7 + static_cast<double>(segment.canonical % 977)));
        test::write_as(segment.wire_dtype, w, wire + segment.wire_offset + e * test::dtype_bytes(segment.wire_dtype));
      }
    }
  }
  uint64_t canonical(uint64_t segment, uint64_t element) const {
    const zo2_segment& s = segments[segment];
    if ((s.flags & ZO2_SEGMENT_GATHERED) == 0) return s.canonical + element;
    return s.canonical + static_cast<uint64_t>(rows[element / s.row_width]) * s.row_width + element % s.row_width;
  }
};

struct Case {
  uint32_t wire;
  uint32_t scratch;
  zo2_noise_kind noise;
  zo2_rounding rounding;
  uint32_t updates;
  uint32_t directions;
  bool store;
  uint32_t sides;  // 0: flush, 1: W+ only, 2: both
  float eps;
  uint64_t cut;  // elements in a range
  bool generic;
};

static void run_case(const Case& c) {
  const uint64_t base = c.noise == ZO2_NOISE_BUFFER ? 128 : (uint64_t{1} << 34) - 1024;
  const uint64_t table = c.noise == ZO2_NOISE_BUFFER ? 16384 : 0;
  const Unit unit(c.wire, c.scratch, base);
  const contract::Layout layout(nullptr, unit.segments.data(), unit.segments.size());
  std::vector<float> z(table);
  for (uint64_t i = 0; i < table; ++i) z[i] = static_cast<float>(sin(static_cast<double>(i * i % 2003)));
  std::vector<OwnedUpdate> updates;
  for (uint32_t k = 0; k < c.updates; ++k) updates.push_back(owned_update(c.noise, 4 + k, c.directions, table));

  Guarded wire(unit.wire_bytes), plus(unit.scratch_bytes), minus(unit.scratch_bytes);
  Guarded wire_expected(unit.wire_bytes), plus_expected(unit.scratch_bytes), minus_expected(unit.scratch_bytes);
  unit.fill(wire.data());
  unit.fill(wire_expected.data());

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
  const PrepareJob job(command, c.generic);
  PrepareTally flags;
  for (uint64_t s = 0; s < unit.segments.size(); ++s) {
    const uint64_t count = cpu::prepare_elements(job, s);
    // Ranges are taken from the end, so that nothing depends on their order.
    for (uint64_t end = count; end > 0;) {
      const uint64_t begin = end > c.cut ? (end - 1) / c.cut * c.cut : 0;
      cpu::prepare_range(job, s, begin, end, &flags);
      end = begin;
    }
  }
  contract::PrepareCommand expected = command;
  expected.wire = wire_expected.data();
  test::set_sides(expected, plus_expected.data(), minus_expected.data(), c.eps, c.sides);
  for (uint64_t s = 0; s < unit.segments.size(); ++s) {
    for (uint64_t e = 0; e < unit.segments[s].count; ++e) {
      test::reference_element(expected, unit.segments[s], e, unit.canonical(s, e));
    }
  }
  const char* description = c.generic ? "generic" : cpu::tile_kernels(false).name;
  const bool equal = memcmp(wire.data(), wire_expected.data(), wire.size()) == 0 &&
                     memcmp(plus.data(), plus_expected.data(), plus.size()) == 0 &&
                     memcmp(minus.data(), minus_expected.data(), minus.size()) == 0;
  CHECK(equal, "%s: wire %u, scratch %u, noise %d, rounding %d, %u updates of %u, store %d, sides %u, eps %g, cut %llu",
        description, c.wire, c.scratch, c.noise, c.rounding, c.updates, c.directions, c.store, c.sides,
        static_cast<double>(c.eps), static_cast<unsigned long long>(c.cut));
  CHECK(wire.intact() && plus.intact() && minus.intact(), "%s: written outside of the unit", description);
  CHECK(flags.flags == 0, "%s: flags %u", description, flags.flags);
}

static void every_case() {
  for (const bool generic : {true, false}) {
    for (uint32_t wire = 0; wire < 3; ++wire) {
      for (uint32_t scratch = 0; scratch < 3; ++scratch) {
        for (const zo2_noise_kind noise :
             {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_BUFFER, ZO2_NOISE_LOW_RANK}) {
          for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
            for (const uint64_t cut : {uint64_t{1} << 40, uint64_t{640}, uint64_t{77}}) {
              run_case({wire, scratch, noise, rounding, 0, 1, true, 2, 1e-3f, cut, generic});
              run_case({wire, scratch, noise, rounding, 1, 1, true, 2, 1e-3f, cut, generic});
              run_case({wire, scratch, noise, rounding, 2, 3, true, 2, 1e-3f, cut, generic});
              run_case({wire, scratch, noise, rounding, 2, 1, false, 2, 1e-3f, cut, generic});
              run_case({wire, scratch, noise, rounding, 3, 2, true, 0, 1e-3f, cut, generic});
              run_case({wire, scratch, noise, rounding, 1, 1, true, 1, 0.0f, cut, generic});
              run_case({wire, scratch, noise, rounding, 1, 1, true, 2, 0.0f, cut, generic});
              run_case({wire, scratch, noise, rounding, 1, 1, false, 1, -1e-2f, cut, generic});
            }
          }
        }
      }
    }
  }
}

int main() {
  every_case();
  return test::report();
}
