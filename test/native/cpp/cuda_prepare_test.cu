// The prepare kernel gives the bytes of cpu/ops/prepare_range.h: every pair of dtypes, every kind of noise and option,
// segments that begin and end anywhere; what goes wrong raises the same flags.
#include <math.h>

#include <algorithm>

#include "contract/commands.h"
#include "cpu/ops/prepare_range.h"
#include "cuda/ops/prepare.cuh"
#include "cuda/ops/prepare_uniform.cuh"
#include "test/native/cpp/cuda_rig.h"
#include "test/native/cpp/prepare_reference.h"

using namespace zo2;
using test::CudaRig;
using test::Guarded;

namespace {

// elements of a buffer of noise, more than canonical indices of a unit that uses one
constexpr uint64_t kTable = 1 << 15;

float wave(double x) { return static_cast<float>(sin(x)); }

// The `n`th of some patterns of a dtype: quiet and signaling NaN of both signs, both infinities, the largest number.
void write_special(uint32_t dtype, uint64_t n, unsigned char* at) {
  static constexpr uint32_t patterns[3][7] = {
      {0x7fc12345, 0xff812345, 0x7f800001, 0xffedcba9, 0x7f800000, 0xff800000, 0x7f7fffff},
      {0x7e12, 0xfc34, 0x7c01, 0xffff, 0x7c00, 0xfc00, 0x7bff},
      {0x7fd2, 0xff92, 0x7f81, 0xffff, 0x7f80, 0xff80, 0x7f7f}};
  const uint32_t pattern = patterns[dtype][n % 7];
  memcpy(at, &pattern, test::dtype_bytes(dtype));
}

// Segments on and off every boundary that the kernel knows: groups of 8 elements, blocks of 8192.
struct Unit {
  std::vector<zo2_segment> segments;
  std::vector<int32_t> rows = {5, 0, 17, 2};
  uint64_t wire_bytes;
  uint64_t scratch_bytes;
  uint64_t start;

  // `far`: how many bytes the unit begins behind the start of the wire and of W+ and W-. `pieces`: further small
  // segments.
  Unit(uint32_t wire, uint32_t scratch, uint64_t base, uint64_t far, uint64_t pieces)
      : wire_bytes(far), scratch_bytes(far) {
    add(base, 9000, wire, scratch, ZO2_SEGMENT_DECAY, 0);
    add(base + 9216, 700, wire, scratch, ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_DECAY, 0);
    add(base + 10240 + 131, 333, wire, scratch, 0, 0);
    add(base + 10240 + 516, 50, wire, scratch, ZO2_SEGMENT_DECAY, 0);
    add(base + 10240 + 571, 2, wire, scratch, 0, 0);
    add(base + 11264, 96, ZO2_F32, ZO2_F32, 0, 0);
    add(base + 12288, 6 * 200, wire, scratch, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_DECAY, 200);
    add(base + 16384 + 3, 4 * 77, wire, scratch, ZO2_SEGMENT_GATHERED, 77);
    add(base + 20480, 4 * 9, wire, scratch, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_FROZEN, 9);
    add(base + 22528, 0, wire, scratch, 0, 0);
    for (uint64_t i = 0; i < pieces; ++i) add(base + 22528 + 17 * i, 16, wire, scratch, 0, 0);
    add(base + 30720 - 128, 20 * 13, wire, scratch, ZO2_SEGMENT_DECAY, 13);
    add(base + 30720 + 256 + 2 * 72, 11 * 72, wire, scratch, 0, 72, 2);
    wire_bytes -= far;
    scratch_bytes -= far;
    start = far;
  }
  // A uniform layout, with groups of eight at multiples of 16 bytes: segments that end inside a group, one of less than
  // a group, one of more than a block, a frozen one. In fp32, where half a group is 16 bytes, some begin inside a
  // group.
  Unit(uint32_t wire, uint32_t scratch, uint64_t base) : wire_bytes(0), scratch_bytes(0), start(0) {
    const uint64_t half = wire == ZO2_F32 && scratch == ZO2_F32 ? 4 : 0;
    add(base, 9000, wire, scratch, ZO2_SEGMENT_DECAY, 0);
    add(base + 9216 + half, 333, wire, scratch, 0, 0);
    add(base + 10240 + half, 2, wire, scratch, ZO2_SEGMENT_DECAY, 0);
    add(base + 10248, 0, wire, scratch, 0, 0);
    add(base + 10256, 100, wire, scratch, ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_DECAY, 0);
    add(base + 10368 + half, 2055, wire, scratch, ZO2_SEGMENT_DECAY, 137);
    add(base + 12432, 9, wire, scratch, 0, 0);
    add(base + 12448, 8192, wire, scratch, 0, 0);
  }
  void add(uint64_t canonical, uint64_t count, uint32_t wire, uint32_t scratch, uint32_t flags, uint64_t row_width,
           uint32_t first_row = 0) {
    segments.push_back({canonical, count, wire_bytes, scratch_bytes, row_width, wire, scratch, flags, first_row, 0});
    wire_bytes += (count * test::dtype_bytes(wire) + 63) / 64 * 64;
    scratch_bytes += (count * test::dtype_bytes(scratch) + 63) / 64 * 64;
  }
  // `special`: every 37th weight is a NaN with a payload, an infinity, or a number at the end of the dtype's range.
  std::vector<unsigned char> values(float scale, bool special = false) const {
    std::vector<unsigned char> wire(wire_bytes, 0x3C);
    for (const zo2_segment& s : segments) {
      for (uint64_t e = 0; e < s.count; ++e) {
        // Every seventh value is so small that fp16 holds it as a subnormal number.
        const float w = scale * (e % 7 == 0 ? 1e-4f : 1.0f) *
                        wave(static_cast<double>(e) * 1.7 + static_cast<double>(s.canonical % 977));
        unsigned char* const at = wire.data() + (s.wire_offset - start) + e * test::dtype_bytes(s.wire_dtype);
        test::write_as(s.wire_dtype, w, at);
        if (special && e % 37 == 5) write_special(s.wire_dtype, e / 37, at);
      }
    }
    return wire;
  }
};

struct Case {
  uint32_t wire = ZO2_F16;
  uint32_t scratch = ZO2_F16;
  zo2_noise_kind noise = ZO2_NOISE_GAUSSIAN;
  zo2_rounding rounding = ZO2_ROUND_NEAREST;
  uint32_t updates = 1;
  uint32_t directions = 1;
  bool store = true;
  uint32_t sides = 2;  // 0: flush, 1: W+ only, 2: both
  float eps = 1e-3f;
  uint64_t offset = 0;               // of the wire and of W+ from a 256-byte boundary
  float scale = 0.02f;               // of the weights
  uint32_t not_finite = UINT32_MAX;  // the update whose last g is infinite
  uint64_t row_count = 4;
  uint64_t far = 0;     // bytes from the start of the wire and of W+ and W- to the first segment
  uint64_t pieces = 0;  // further small segments
  zo2_sticky before = {0, 0};
  bool dense = false;    // the uniform layout
  bool special = false;  // weights that are not finite, or will not be
};

float projected(const Case& c, uint32_t k, uint32_t d) {
  if (k == c.not_finite && d + 1 == c.directions) return INFINITY;
  return static_cast<float>(1.3 - 0.9 * d + 0.01 * k);
}

// The updates of a case with their tables, on the device and on the host.
struct Updates {
  std::vector<float> z;
  std::vector<zo2_coefficient> coefficients;
  Guarded device_coefficients, device_z;
  std::vector<contract::PendingUpdate> on_device, on_host;

  static std::vector<zo2_coefficient> flat(const Case& c) {
    std::vector<zo2_coefficient> all;
    for (uint32_t k = 0; k < c.updates; ++k) {
      for (uint32_t d = 0; d < c.directions; ++d) all.push_back({projected(c, k, d), 0});
    }
    return all;
  }
  static std::vector<float> noise(const Case& c) {
    std::vector<float> z;
    if (c.noise == ZO2_NOISE_BUFFER) {
      for (uint64_t i = 0; i < kTable * c.directions; ++i) z.push_back(wave(static_cast<double>(i * i % 1009)));
    }
    return z;
  }
  explicit Updates(const Case& c) : z(noise(c)), coefficients(flat(c)), device_coefficients(coefficients), device_z(z) {
    for (uint32_t k = 0; k < c.updates; ++k) {
      contract::PendingUpdate update{};
      update.noise = c.noise;
      update.step = 4 + k;
      update.directions = c.directions;
      update.seed = 0xfedcba9876543210ull;
      update.learning_rate = 1e-3 * c.scale / 0.02;
      update.weight_decay = 0.1;
      update.rank = test::kRank;
      update.column_step = (4 + k) / 5 * 5;
      update.z_stride = kTable * sizeof(float);
      update.coefficients = coefficients.data() + k * c.directions;
      update.z = c.noise == ZO2_NOISE_BUFFER ? z.data() : nullptr;
      on_host.push_back(update);
      update.coefficients = device_coefficients.at<zo2_coefficient>() + k * c.directions;
      update.z = c.noise == ZO2_NOISE_BUFFER ? device_z.at<float>() : nullptr;
      on_device.push_back(update);
    }
  }
};

void describe(const Case& c, char* text, size_t size) {
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  snprintf(text, size,
           "wire %u, scratch %u, noise %d, rounding %d, %u updates of %u, store %d, sides %u, eps %g, offset %llu, "
           "rows %llu, far %llu, pieces %llu, dense %d, special %d",
           c.wire, c.scratch, c.noise, c.rounding, c.updates, c.directions, c.store, c.sides,
           static_cast<double>(c.eps), number(c.offset), number(c.row_count), number(c.far), number(c.pieces), c.dense,
           c.special);
}

unsigned char* behind(unsigned char* first, uint64_t bytes) {
  return reinterpret_cast<unsigned char*>(reinterpret_cast<uintptr_t>(first) - bytes);
}

// Runs a case on both sides. Returns the sticky flags.
zo2_sticky run_case(CudaRig& rig, const Case& c) {
  const bool buffer = c.noise == ZO2_NOISE_BUFFER;
  const uint64_t base = buffer ? 128 : (uint64_t{1} << 34) - 1024;
  const Unit unit = c.dense ? Unit(c.wire, c.scratch, base) : Unit(c.wire, c.scratch, base, c.far, c.pieces);
  const contract::Layout layout(nullptr, unit.segments.data(), unit.segments.size());
  const Updates updates(c);
  std::vector<float> table;
  for (uint64_t i = 0; buffer && i < kTable; ++i) table.push_back(wave(static_cast<double>(i * i % 2003)));

  Guarded wire(unit.values(c.scale, c.special), c.offset), plus(unit.scratch_bytes, c.offset),
      minus(unit.scratch_bytes), z(table), rows(unit.rows);
  Guarded segments(unit.segments), sticky(std::vector<zo2_sticky>{c.before}), tally(std::vector<cuda::PrepareTally>(1));
  Guarded device_updates(updates.on_device);

  contract::PrepareCommand command{};
  command.layout = &layout;
  command.wire = behind(wire.at(), c.far);
  test::set_sides(command, behind(plus.at(), c.far), behind(minus.at(), c.far), c.eps, c.sides);
  command.rows = c.row_count == 0 ? nullptr : rows.at<int32_t>();
  command.row_count = c.row_count;
  command.noise = c.noise;
  command.seed = 77;
  command.step = 6;
  command.direction = 2;
  command.rank = test::kRank;
  command.column_step = 5;
  command.z = buffer ? z.at<float>() : nullptr;
  command.store = c.store;
  command.rounding = c.rounding;
  command.sticky = c.updates == 0 ? nullptr : sticky.at<zo2_sticky>();
  command.updates = updates.on_device;
  command.noise_elements = buffer ? kTable : UINT64_MAX;
  const cuda::PrepareResources resources = {segments.at<zo2_segment>(), device_updates.at<contract::PendingUpdate>(),
                                            tally.at<cuda::PrepareTally>()};
  char text[256];
  describe(c, text, sizeof text);
  const bool pair = c.wire == c.scratch || c.wire == ZO2_F32 || c.scratch == ZO2_F32;
  const bool uniform = c.dense && pair && !buffer && c.noise != ZO2_NOISE_LOW_RANK && c.offset % 16 == 0 &&
                       (c.updates == 0 || (c.updates == 1 && c.directions == 1));
  CHECK(cuda::is_uniform_prepare(command) == uniform, "%s", text);
  MUST(cuda::launch_prepare(rig.launch(), command, resources));
  CHECK(rig.fault().kind == contract::FaultKind::kNone);

  std::vector<unsigned char> wire_expected = unit.values(c.scale, c.special);
  std::vector<unsigned char> plus_expected(unit.scratch_bytes, 0xA5), minus_expected = plus_expected;
  contract::PrepareCommand on_host = command;
  on_host.wire = behind(wire_expected.data(), c.far);
  test::set_sides(on_host, behind(plus_expected.data(), c.far), behind(minus_expected.data(), c.far), c.eps, c.sides);
  on_host.rows = unit.rows.data();
  on_host.z = table.data();
  on_host.updates = updates.on_host;
  const cpu::PrepareJob job(on_host, false);
  cpu::PrepareTally flags;
  for (uint64_t s = 0; s < unit.segments.size(); ++s) {
    cpu::prepare_range(job, s, 0, cpu::prepare_elements(job, s), &flags);
  }
  cpu::prepare_check_updates(job, &flags);
  zo2_sticky expected = c.before;
  cpu::raise_sticky(&expected, job, flags);

  CHECK(wire.get() == wire_expected, "%s", text);
  CHECK(plus.get() == plus_expected, "%s", text);
  CHECK(minus.get() == minus_expected, "%s", text);
  const zo2_sticky found = sticky.get<zo2_sticky>()[0];
  CHECK(found.flags == expected.flags && found.step == expected.step, "%s: flags %u of step %u, not %u of %u", text,
        found.flags, found.step, expected.flags, expected.step);
  const cuda::PrepareTally left = tally.get<cuda::PrepareTally>()[0];
  CHECK(left.flags == 0 && left.urgency == 0 && left.blocks == 0, "%s: the tally is not left zero", text);
  CHECK(wire.intact() && plus.intact() && minus.intact() && sticky.intact() && tally.intact(),
        "%s: written outside of a buffer", text);
  return found;
}

void every_pair_of_dtypes(CudaRig& rig) {
  for (uint32_t wire = 0; wire < 3; ++wire) {
    for (uint32_t scratch = 0; scratch < 3; ++scratch) {
      for (const zo2_noise_kind noise :
           {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_BUFFER, ZO2_NOISE_LOW_RANK}) {
        for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
          Case c;
          c.wire = wire, c.scratch = scratch, c.noise = noise, c.rounding = rounding;
          run_case(rig, c);
        }
      }
    }
  }
}

// Every kernel for uniform layouts, and the general one over the same.
void uniform_layouts(CudaRig& rig) {
  for (uint32_t wire = 0; wire < 3; ++wire) {
    for (uint32_t scratch = 0; scratch < 3; ++scratch) {
      for (const zo2_noise_kind noise : {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER}) {
        for (const bool special : {false, true}) {
          Case c;
          c.dense = true, c.wire = wire, c.scratch = scratch, c.noise = noise, c.special = special;
          zo2_sticky found = run_case(rig, c);
          CHECK(found.flags == (special ? uint32_t{ZO2_STICKY_OVERFLOW} : 0u) && found.step == (special ? 4u : 0u));
          c.rounding = ZO2_ROUND_STOCHASTIC;
          run_case(rig, c);
          c.updates = 0;
          run_case(rig, c);
          c.updates = 2;
          run_case(rig, c);
        }
      }
    }
  }
}

// What a kernel for uniform layouts decides when it runs.
void uniform_options(CudaRig& rig) {
  Case c;
  c.dense = true;
  for (const uint32_t sides : {0, 1, 2}) {
    for (const uint32_t updates : {0, 1}) {
      for (const bool store : {false, true}) {
        c.sides = sides, c.updates = updates, c.store = store;
        run_case(rig, c);
      }
    }
  }
  c.eps = 0;
  run_case(rig, c);
  c.eps = 1e-3f, c.offset = 8;
  run_case(rig, c);
  c.offset = 0, c.not_finite = 0;
  zo2_sticky found = run_case(rig, c);
  CHECK(found.flags == ZO2_STICKY_NOT_FINITE && found.step == 4);
  c.special = true;
  found = run_case(rig, c);
  CHECK(found.flags == (ZO2_STICKY_NOT_FINITE | ZO2_STICKY_OVERFLOW) && found.step == 4);
  c.before = {ZO2_STICKY_OVERFLOW, 2};
  found = run_case(rig, c);
  CHECK(found.flags == (ZO2_STICKY_NOT_FINITE | ZO2_STICKY_OVERFLOW) && found.step == 2);
  // Weights near the end of fp16's range.
  Case large;
  large.dense = true, large.scale = 65000.0f;
  for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
    large.rounding = rounding;
    found = run_case(rig, large);
    CHECK(found.flags == ZO2_STICKY_OVERFLOW && found.step == 4);
  }
}

// The flags after two updates, of step `first` and the next, along one direction each.
zo2_sticky flags_after_two(CudaRig& rig, contract::PrepareCommand command, uint32_t first,
                           const std::vector<zo2_coefficient>& values) {
  Guarded segments(command.layout->segments()), tally(std::vector<cuda::PrepareTally>(1)),
      sticky(std::vector<zo2_sticky>(1)), coefficients(values);
  command.sticky = sticky.at<zo2_sticky>();
  command.noise_elements = UINT64_MAX;
  for (uint32_t k = 0; k < 2; ++k) {
    contract::PendingUpdate update{};
    update.noise = ZO2_NOISE_RADEMACHER;
    update.step = first + k;
    update.directions = 1;
    update.learning_rate = 1;
    update.coefficients = coefficients.at<zo2_coefficient>() + k;
    command.updates.push_back(update);
  }
  MUST(cuda::launch_prepare(rig.launch(), command,
                            {segments.at<zo2_segment>(), nullptr, tally.at<cuda::PrepareTally>()}));
  rig.finish();
  return sticky.get<zo2_sticky>()[0];
}

// A layout without an element: what is wrong with a coefficient is still told.
void no_elements(CudaRig& rig) {
  const zo2_segment segment = {0, 0, 0, 0, 0, ZO2_F16, ZO2_F16, 0, 0, 0};
  const contract::Layout layout(nullptr, &segment, 1);
  contract::PrepareCommand command{};
  command.layout = &layout;
  const zo2_sticky found = flags_after_two(rig, command, 7, {{1, 1}, {NAN, 0}});
  CHECK(found.flags == ZO2_STICKY_NOT_FINITE && found.step == 8);
}

void every_option(CudaRig& rig) {
  for (const zo2_noise_kind noise : {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER, ZO2_NOISE_BUFFER}) {
    Case c;
    c.noise = noise;
    c.rounding = ZO2_ROUND_STOCHASTIC;
    c.updates = 0;
    run_case(rig, c);
    c.updates = 3, c.directions = 3;
    run_case(rig, c);
    c.store = false;
    run_case(rig, c);
    // More updates than kernel arguments carry, in two batches.
    c.updates = cuda::kInlineUpdates + 2, c.store = true, c.directions = 2;
    run_case(rig, c);
    c.updates = 1, c.directions = 64, c.sides = 0;
    run_case(rig, c);
    c.directions = 1, c.sides = 1, c.eps = -1e-2f;
    run_case(rig, c);
    c.eps = 0;
    run_case(rig, c);
    c.sides = 2;
    run_case(rig, c);
    c.row_count = 0, c.eps = 1e-3f;
    run_case(rig, c);
    c.row_count = 3, c.updates = 0, c.store = false;
    run_case(rig, c);
  }
}

// Spans begin at multiples of 4 bytes, where no vector of 16 may be read.
void any_alignment(CudaRig& rig) {
  for (const uint64_t offset : {4, 8, 12, 32}) {
    for (uint32_t wire = 0; wire < 3; ++wire) {
      Case c;
      c.wire = wire, c.offset = offset;
      run_case(rig, c);
    }
  }
}

// More segments than a warp looks through at once; and bytes past 2^32 from the start of a buffer.
void units(CudaRig& rig) {
  Case c;
  for (const uint64_t pieces : {21, 22, 23, 90}) {
    c.pieces = pieces;
    run_case(rig, c);
  }
  c.far = uint64_t{1} << 36;
  run_case(rig, c);
}

// A group of eight of which only some elements exist: what the others would become is nobody's overflow.
void overflow_of_no_element(CudaRig& rig) {
  // With a = 65530, w' of 40000 z fits fp16 and that of 0 does not.
  const zo2_segment segment = {3, 10, 0, 0, 0, ZO2_F16, ZO2_F16, 0, 0, 0};
  const contract::Layout layout(nullptr, &segment, 1);
  std::vector<uint16_t> weights, expected;
  for (uint64_t e = 0; e < segment.count; ++e) {
    const float z = test::noise_of(ZO2_NOISE_RADEMACHER, 5, 1, 0, nullptr, segment.canonical + e);
    weights.push_back(numerics::f32_to_f16(40000 * z));
    expected.push_back(numerics::f32_to_f16(-25530 * z));
  }
  Guarded segments(std::vector<zo2_segment>{segment}), wire(weights), tally(std::vector<cuda::PrepareTally>(1)),
      sticky(std::vector<zo2_sticky>(1));
  Guarded coefficients(std::vector<zo2_coefficient>{{65530.0f, 1}});
  contract::PendingUpdate update{};
  update.noise = ZO2_NOISE_RADEMACHER;
  update.step = 1;
  update.directions = 1;
  update.seed = 5;
  update.learning_rate = 1;
  update.coefficients = coefficients.at<zo2_coefficient>();
  contract::PrepareCommand command{};
  command.layout = &layout;
  command.wire = wire.at();
  command.store = true;
  command.sticky = sticky.at<zo2_sticky>();
  command.updates = {update};
  command.noise_elements = UINT64_MAX;
  MUST(cuda::launch_prepare(rig.launch(), command,
                            {segments.at<zo2_segment>(), nullptr, tally.at<cuda::PrepareTally>()}));
  rig.finish();
  CHECK(wire.get<uint16_t>() == expected && wire.intact());
  CHECK(sticky.get<zo2_sticky>()[0].flags == 0);
}

void flags(CudaRig& rig) {
  Case c;
  c.updates = 3, c.directions = 2, c.not_finite = 1;
  zo2_sticky found = run_case(rig, c);
  CHECK(found.flags == ZO2_STICKY_NOT_FINITE && found.step == 5);
  c.updates = 6, c.not_finite = 5;
  found = run_case(rig, c);
  CHECK(found.flags == ZO2_STICKY_NOT_FINITE && found.step == 9);
  c.before = {ZO2_STICKY_OVERFLOW, 2};
  found = run_case(rig, c);
  CHECK(found.flags == (ZO2_STICKY_OVERFLOW | ZO2_STICKY_NOT_FINITE) && found.step == 2);

  // Weights at the end of fp16's range, some of which leave it at the first update; the second has no finite g.
  Case large;
  large.scale = 65000.0f;
  large.updates = 2, large.not_finite = 1;
  for (const zo2_rounding rounding : {ZO2_ROUND_NEAREST, ZO2_ROUND_STOCHASTIC}) {
    large.rounding = rounding;
    found = run_case(rig, large);
    CHECK(found.flags == (ZO2_STICKY_OVERFLOW | ZO2_STICKY_NOT_FINITE) && found.step == 4);
  }
}

// The last block alone overflows, at the first update; the second has a coefficient that every block can see is not
// finite. The step is that of the first.
void first_of_two_failures(CudaRig& rig) {
  const zo2_segment list[] = {{0, 9000, 0, 0, 0, ZO2_F16, ZO2_F16, 0, 0, 0},
                              {9216, 64, 18048, 18048, 0, ZO2_F16, ZO2_F16, 0, 0, 0}};
  const contract::Layout layout(nullptr, list, 2);
  std::vector<uint16_t> weights(18048 / 2 + 64);
  std::fill(weights.end() - 64, weights.end(), numerics::f32_to_f16(65000.0f));
  Guarded wire(weights);
  contract::PrepareCommand command{};
  command.layout = &layout;
  command.wire = wire.at();
  command.store = true;
  const zo2_sticky found = flags_after_two(rig, command, 4, {{1000.0f, 1}, {INFINITY, 0}});
  CHECK(found.flags == (ZO2_STICKY_OVERFLOW | ZO2_STICKY_NOT_FINITE) && found.step == 4, "flags %u of step %u",
        found.flags, found.step);
}

// A unit of one gathered segment, to name rows that cannot be.
void row_faults(CudaRig& rig) {
  const zo2_segment segment = {100, 4000, 0, 0, 10, ZO2_F32, ZO2_F32, ZO2_SEGMENT_GATHERED, 0, 0};
  const contract::Layout layout(nullptr, &segment, 1);
  const std::vector<float> table(200);
  Guarded segments(std::vector<zo2_segment>{segment}), z(table), tally(std::vector<cuda::PrepareTally>(1));
  // An update that would raise NOT_FINITE, were it looked at.
  Guarded coefficients(std::vector<zo2_coefficient>{{INFINITY, 0}});
  contract::PendingUpdate update{};
  update.directions = 1;
  update.learning_rate = 1;
  update.coefficients = coefficients.at<zo2_coefficient>();
  const auto run = [&](const std::vector<int32_t>& list, zo2_noise_kind noise) {
    rig.clear();
    Guarded rows(list), wire(std::vector<float>(4000, 1.0f)), plus(4000 * sizeof(float)),
        sticky(std::vector<zo2_sticky>(1));
    contract::PrepareCommand command{};
    command.layout = &layout;
    command.wire = wire.at();
    command.sides[0] = {plus.at(), 1e-3f};
    command.side_count = 1;
    command.draws = true;
    command.rows = rows.at<int32_t>();
    command.row_count = list.size();
    command.noise = noise;
    command.z = z.at<float>();
    command.noise_elements = noise == ZO2_NOISE_BUFFER ? table.size() : UINT64_MAX;
    command.sticky = sticky.at<zo2_sticky>();
    command.updates = {update};
    MUST(cuda::launch_prepare(rig.launch(), command,
                              {segments.at<zo2_segment>(), nullptr, tally.at<cuda::PrepareTally>()}));
    const contract::Fault fault = rig.fault();
    const std::vector<unsigned char> written = plus.get();
    const bool untouched =
        sticky.get<zo2_sticky>()[0].flags == 0 && written == std::vector<unsigned char>(written.size(), 0xA5);
    CHECK(untouched == (fault.kind != contract::FaultKind::kNone),
          "a command with a fault does nothing, one without does something");
    return fault;
  };
  CHECK(run({0, 399, INT32_MAX}, ZO2_NOISE_GAUSSIAN).kind == contract::FaultKind::kNone);
  CHECK(run({0, 9}, ZO2_NOISE_BUFFER).kind == contract::FaultKind::kNone);
  contract::Fault fault = run({3, -1, -7}, ZO2_NOISE_GAUSSIAN);
  CHECK(fault.kind == contract::FaultKind::kPrepareRow && fault.index == 1 && fault.values[0] == -1);
  fault = run({3, 10, 11}, ZO2_NOISE_BUFFER);
  CHECK(fault.kind == contract::FaultKind::kPrepareRow && fault.index == 1 && fault.values[0] == 10);
  std::vector<int32_t> many(400, 2);
  many[390] = -4, many[299] = -3;
  fault = run(many, ZO2_NOISE_RADEMACHER);
  CHECK(fault.kind == contract::FaultKind::kPrepareRow && fault.index == 299 && fault.values[0] == -3);
  rig.clear();
}

}  // namespace

int main() {
  CudaRig rig;
  every_pair_of_dtypes(rig);
  uniform_layouts(rig);
  uniform_options(rig);
  no_elements(rig);
  every_option(rig);
  any_alignment(rig);
  units(rig);
  flags(rig);
  first_of_two_failures(rig);
  overflow_of_no_element(rig);
  row_faults(rig);
  return test::report();
}
