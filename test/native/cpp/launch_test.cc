// prepare and run as commands: arguments, layouts, how the work is cut and shared, what reaches the sticky flags. That
// the kernels are right is for prepare_test and ops_test.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "prepare_reference.h"
#include "rig.h"

using zo2::test::Rig;

namespace {

constexpr zo2_span kNone = {nullptr, 0};

bool invalid(const Rig& rig, zo2_status status, const std::string& text) {
  return CHECK(status == ZO2_STATUS_INVALID_ARGUMENT && strstr(rig.error.message, text.c_str()) != nullptr,
               "status %d, \"%s\" should have \"%s\"", static_cast<int>(status), rig.error.message, text.c_str());
}

zo2_device_options threads(uint32_t count) {
  zo2_device_options options = {};
  options.threads = count;
  return options;
}

zo2_segment segment(uint64_t canonical, uint64_t count, uint64_t offset, uint32_t flags = 0) {
  zo2_segment s = {};
  s.canonical = canonical;
  s.count = count;
  s.wire_offset = offset;
  s.scratch_offset = offset;
  s.flags = flags;
  return s;
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) / 1024 - 3;
  return values;
}

// One fp32 unit with everything a prepare may need.
struct Unit {
  Unit(const zo2_device_options& options, const std::vector<zo2_segment>& segments, size_t elements)
      : rig(options), elements(elements) {
    args.layout = rig.layout(segments);
    args.wire = {rig.on_device(stream, ramp(elements)), 0};
    sides[0] = {{rig.buffer(ZO2_BUFFER_DEVICE, elements * 4), 0}, 0.5f};
    sides[1] = {{rig.buffer(ZO2_BUFFER_DEVICE, elements * 4), 0}, -0.5f};
    args.sides = sides;
    args.side_count = 2;
    args.sticky = {rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}}), 0};
    args.noise = ZO2_NOISE_BUFFER;
    args.seed = 42;
    args.step = 7;
    args.store = 1;
    update.noise = ZO2_NOISE_BUFFER;
    update.step = 6;
    update.directions = 1;
    update.seed = 42;
    update.learning_rate = 0.5;
  }

  void buffer_noise(const std::vector<float>& z) { args.z = update.z = {rig.on_device(stream, z), 0}; }

  void pend(const std::vector<float>& gradients) {
    std::vector<zo2_coefficient> coefficients;
    for (float g : gradients) coefficients.push_back({g, isfinite(g) ? 1u : 0u});
    update.coefficients = {rig.on_device(stream, coefficients), 0};
    update.directions = static_cast<uint32_t>(gradients.size());
    args.updates = &update;
    args.update_count = 1;
  }

  zo2_status prepare() { return rig.table->prepare(stream, &args, &rig.error); }
  void prepare_well() { rig.launched(prepare()); }
  std::vector<float> read(zo2_span span) { return rig.read<float>(stream, span.buffer, elements); }

  Rig rig;
  zo2_stream* const stream = rig.stream("compute");
  const size_t elements;
  zo2_prepare_args args = {};
  zo2_side sides[2] = {};
  zo2_update update = {};
};

void prepare_perturbs_with_the_noise_of_the_canonical_index(const zo2_device_options& options) {
  // More than a few chunks; the first begins in the middle of one, and nothing ends on a whole noise counter.
  constexpr uint64_t kFirst = 128 * 1000 + 5;
  constexpr size_t kCount = 300003;
  constexpr size_t kGap = (kCount + 15) / 16 * 16;
  Unit unit(options, {segment(kFirst, kCount, 0), segment(uint64_t{1} << 33, 777, kGap * 4)}, kGap + 777);
  unit.args.noise = ZO2_NOISE_GAUSSIAN;
  unit.args.direction = 3;
  unit.prepare_well();
  const std::vector<float> w = ramp(unit.elements);
  const std::vector<float> plus = unit.read(unit.sides[0].scratch);
  const std::vector<float> minus = unit.read(unit.sides[1].scratch);
  std::vector<float> z(kGap + 777);
  for (size_t i = 0; i < z.size(); ++i) {
    const uint64_t canonical = i < kGap ? kFirst + i : (uint64_t{1} << 33) + i - kGap;
    z[i] = zo2::test::noise_of(ZO2_NOISE_GAUSSIAN, 42, 7, 3, nullptr, canonical);
  }
  size_t wrong = 0;
  for (size_t i = 0; i < unit.elements; ++i) {
    if (i >= kCount && i < kGap) continue;
    if (plus[i] != fmaf(0.5f, z[i], w[i]) || minus[i] != fmaf(-0.5f, z[i], w[i])) ++wrong;
  }
  CHECK(wrong == 0, "%zu of %zu elements with %d threads", wrong, unit.elements, static_cast<int>(options.threads));
  CHECK(unit.read(unit.args.wire) == w, "without an update the wire stays as it is");
}

void prepare_applies_the_update_to_what_is_neither_frozen_nor_without_decay() {
  // Three tensors of 16: plain, with decay, frozen. z = 1, 2, 3, ...; g = 4, lr = 0.5: a = 2.
  Unit unit(threads(2),
            {segment(0, 16, 0), segment(16, 16, 64, ZO2_SEGMENT_DECAY), segment(32, 16, 128, ZO2_SEGMENT_FROZEN)}, 48);
  std::vector<float> z(48);
  for (size_t i = 0; i < 48; ++i) z[i] = static_cast<float>(i + 1);
  unit.buffer_noise(z);
  unit.pend({4});
  unit.update.weight_decay = 0.5;  // b = 0.25
  unit.prepare_well();
  const std::vector<float> before = ramp(48);
  const std::vector<float> wire = unit.read(unit.args.wire);
  const std::vector<float> plus = unit.read(unit.sides[0].scratch);
  const std::vector<float> minus = unit.read(unit.sides[1].scratch);
  for (size_t i = 0; i < 48; ++i) {
    // Exact in fp32: all are small multiples of 2^-12.
    float expected = before[i];
    if (i < 32) expected -= 2 * z[i] + (i >= 16 ? 0.25f * before[i] : 0);
    const float reach = i < 32 ? 0.5f * z[i] : 0;
    CHECK(wire[i] == expected && plus[i] == expected + reach && minus[i] == expected - reach, "element %zu: %g, not %g",
          i, static_cast<double>(wire[i]), static_cast<double>(expected));
  }
  CHECK(unit.rig.read<zo2_sticky>(unit.stream, unit.args.sticky.buffer, 1)[0].flags == 0);
}

void a_flush_writes_the_wire_alone_and_without_store_the_wire_stays() {
  Unit unit(threads(1), {segment(0, 16, 0)}, 16);
  unit.buffer_noise(std::vector<float>(16, 1.0f));
  unit.pend({2});
  unit.args.store = 0;
  unit.args.side_count = 1;
  unit.sides[0].eps = 0;
  unit.prepare_well();
  std::vector<float> updated = ramp(16);
  for (float& w : updated) w -= 1;
  CHECK(unit.read(unit.args.wire) == ramp(16));
  CHECK(unit.read(unit.sides[0].scratch) == updated, "with eps 0, a side is the updated weight itself");
  const zo2_span plus = unit.sides[0].scratch;
  unit.rig.ok(unit.rig.table->fill(unit.stream, plus, 0, 64, &unit.rig.error));
  unit.args.side_count = 0;
  unit.args.store = 1;
  unit.prepare_well();
  CHECK(unit.read(unit.args.wire) == updated);
  CHECK(unit.read(plus) == std::vector<float>(16, 0.0f));
}

void a_gradient_that_is_not_finite_leaves_weights_and_raises_the_step_of_the_update() {
  Unit unit(threads(2), {segment(0, 100, 0)}, 100);
  unit.buffer_noise(std::vector<float>(100, 1.0f));
  unit.pend({INFINITY});
  unit.prepare_well();
  CHECK(unit.read(unit.args.wire) == ramp(100));
  const zo2_sticky sticky = unit.rig.read<zo2_sticky>(unit.stream, unit.args.sticky.buffer, 1)[0];
  CHECK(sticky.flags == ZO2_STICKY_NOT_FINITE && sticky.step == 6);
}

void gathered_segments_take_the_noise_of_their_rows() {
  // Rows 5, 0 and 9 of a table of 10 rows of 4, which begins at canonical index 128, behind a plain tensor.
  zo2_segment table = segment(128, 16, 64, ZO2_SEGMENT_GATHERED);
  table.row_width = 4;
  Unit unit(threads(2), {segment(0, 3, 0), table}, 32);
  std::vector<float> z(168);
  for (size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>(i);
  unit.buffer_noise(z);
  unit.args.rows = {unit.rig.host(std::vector<int32_t>{5, 0, 9}), 0};
  unit.args.row_count = 3;
  unit.rig.ok(unit.rig.table->fill(unit.stream, unit.sides[0].scratch, 0, 128, &unit.rig.error));
  unit.prepare_well();
  const std::vector<float> w = ramp(32);
  const std::vector<float> plus = unit.read(unit.sides[0].scratch);
  const int rows[3] = {5, 0, 9};
  for (size_t e = 0; e < 12; ++e) {
    const float noise = static_cast<float>(128 + rows[e / 4] * 4 + static_cast<int>(e % 4));
    CHECK(plus[16 + e] == w[16 + e] + 0.5f * noise, "element %zu", e);
  }
  for (size_t e = 28; e < 32; ++e) CHECK(plus[e] == 0, "the fourth row is not there");

  unit.args.row_count = 5;
  invalid(unit.rig, unit.prepare(), "row_count is 5, but the gathered segments have room for 4");
  unit.args.row_count = 4;
  invalid(unit.rig, unit.prepare(), "rows needs 16 bytes");
  for (const int32_t bad : {-1, 10}) {
    zo2_stream* const stream = unit.rig.stream("bad rows");
    unit.args.rows = {unit.rig.host(std::vector<int32_t>{2, bad}), 0};
    unit.args.row_count = 2;
    unit.rig.ok(unit.rig.table->prepare(stream, &unit.args, &unit.rig.error));
    const zo2_error error = unit.rig.finish(stream);
    const std::string expected = "rows[1] is " + std::to_string(bad);
    CHECK(error.status == ZO2_STATUS_INVALID_ARGUMENT && strstr(error.message, expected.c_str()) != nullptr, "%s",
          error.message);
  }
}

void prepare_refuses_what_it_cannot_use() {
  Unit unit(threads(1), {segment(0, 16, 0)}, 16);
  unit.buffer_noise(std::vector<float>(16, 1.0f));
  unit.pend({1});
  const zo2_prepare_args good = unit.args;
  const zo2_update good_update = unit.update;
  const zo2_side good_sides[2] = {unit.sides[0], unit.sides[1]};
  const auto refused = [&](const char* text, auto change) {
    unit.args = good;
    unit.update = good_update;
    std::copy(std::begin(good_sides), std::end(good_sides), unit.sides);
    change(unit.args, unit.update);
    invalid(unit.rig, unit.prepare(), text);
  };
  refused("layout is none", [](auto& a, auto&) { a.layout = nullptr; });
  refused("wire needs 64 bytes from offset 4 on", [](auto& a, auto&) { a.wire.offset = 4; });
  zo2_side* const sides = unit.sides;
  refused("sides[0].scratch starts at offset 2",
          [&](auto&, auto&) { sides[0].scratch = {unit.rig.buffer(ZO2_BUFFER_DEVICE, 80), 2}; });
  refused("sides[1].scratch is none", [&](auto&, auto&) { sides[1].scratch = kNone; });
  refused("sides[1].scratch needs 64 bytes from offset 4 on", [&](auto&, auto&) { sides[1].scratch.offset = 4; });
  refused("sides[1].scratch is a host buffer",
          [&](auto&, auto&) { sides[1].scratch = {unit.rig.buffer(ZO2_BUFFER_HOST, 64), 0}; });
  refused("sides[1].scratch (64 bytes) overlaps sides[0].scratch (64 bytes)",
          [&](auto&, auto&) { sides[1].scratch = sides[0].scratch; });
  refused("sides[0].scratch (64 bytes) overlaps wire", [&](auto& a, auto&) { sides[0].scratch = a.wire; });
  refused("sides is null, but side_count is 2", [](auto& a, auto&) { a.sides = nullptr; });
  refused("side_count is 3, but may be at most 2", [](auto& a, auto&) { a.side_count = 3; });
  refused("sides[0].eps is inf, but must be finite", [&](auto&, auto&) { sides[0].eps = INFINITY; });
  refused("sides[1].eps is nan, but must be finite", [&](auto&, auto&) { sides[1].eps = NAN; });
  refused("overlaps coefficients of an update", [](auto& a, auto& u) { a.sticky = u.coefficients; });
  refused("wire is a host buffer", [&](auto& a, auto&) { a.wire = {unit.rig.buffer(ZO2_BUFFER_HOST, 64), 0}; });
  refused("sticky is none", [](auto& a, auto&) { a.sticky = kNone; });
  refused("z needs 64 bytes", [](auto& a, auto&) { a.z.offset = 4; });
  refused("z is none", [](auto& a, auto&) { a.z = kNone; });
  refused("noise is 4", [](auto& a, auto&) { a.noise = static_cast<zo2_noise_kind>(4); });
  refused("rounding is 2", [](auto& a, auto&) { a.rounding = static_cast<zo2_rounding>(2); });
  refused("direction is 16777216", [](auto& a, auto&) { a.direction = 1u << 24; });
  refused("updates is null", [](auto& a, auto&) { a.updates = nullptr; });
  refused("65 directions", [](auto&, auto& u) { u.directions = 65; });
  refused("0 directions", [](auto&, auto& u) { u.directions = 0; });
  const auto low_rank = [](auto& drawn, uint32_t rank, uint32_t interval) {
    drawn.noise = ZO2_NOISE_LOW_RANK, drawn.rank = rank, drawn.interval = interval;
  };
  refused("noise of an update has rank 0", [&](auto&, auto& u) { low_rank(u, 0, 1); });
  refused("noise of an update has rank 17", [&](auto&, auto& u) { low_rank(u, 17, 1); });
  refused("noise of the sides has rank 1 and an interval of 0", [&](auto& a, auto&) { low_rank(a, 1, 0); });
  refused("coefficients of an update needs 16 bytes", [](auto&, auto& u) { u.directions = 2; });
  refused("learning rate", [](auto&, auto& u) { u.learning_rate = NAN; });
  refused("z of an update is none", [](auto&, auto& u) { u.z = kNone; });
  refused("stride of z of an update is 2", [](auto&, auto& u) { u.z_stride = 2; });
  CHECK(unit.rig.finish(unit.stream).status == ZO2_OK);
  CHECK(unit.rig.info().launches == 0);
}

void layouts_are_checked() {
  Rig rig;
  const auto refused = [&](const char* text, const std::vector<zo2_segment>& segments) {
    zo2_layout* layout = nullptr;
    invalid(rig, rig.table->layout_create(rig.device, segments.data(), segments.size(), &layout, &rig.error), text);
    CHECK(layout == nullptr);
  };
  const auto changed = [](auto change) {
    zo2_segment s = segment(0, 16, 64);
    change(s);
    return std::vector<zo2_segment>{segment(1000, 3, 0), s};
  };
  refused("segment 1: wire_dtype is 3", changed([](auto& s) { s.wire_dtype = ZO2_I32; }));
  refused("segment 1: scratch_dtype is 9", changed([](auto& s) { s.scratch_dtype = 9; }));
  refused("segment 1: wire_offset is 32", changed([](auto& s) { s.wire_offset = 32; }));
  refused("segment 1: scratch_offset is 1", changed([](auto& s) { s.scratch_offset = 1; }));
  refused("segment 1: flags is 8", changed([](auto& s) { s.flags = 8; }));
  refused("segment 1: count is 16, but must be a multiple", changed([](auto& s) { s.row_width = 5; }));
  refused("segment 1: first_row is 2, but must be 0", changed([](auto& s) { s.first_row = 2; }));
  refused("segment 1: first_row is 3, but its matrix would begin before", changed([](auto& s) {
            s.canonical = 11;
            s.row_width = 4;
            s.first_row = 3;
          }));
  refused("segment 1: row_width is 0", changed([](auto& s) { s.flags = ZO2_SEGMENT_GATHERED; }));
  refused("segment 1: count is 16", changed([](auto& s) {
            s.flags = ZO2_SEGMENT_GATHERED;
            s.row_width = 5;
          }));
  refused("segment 1: count is", changed([](auto& s) { s.count = UINT64_MAX; }));
  const auto in_blocks = [&](auto change) {
    return changed([&](auto& s) {
      s.wire_dtype = ZO2_I8, s.row_width = 8, s.scale_offset = 192;
      change(s);
    });
  };
  refused("segment 1: row_width is 0", in_blocks([](auto& s) { s.row_width = 0; }));
  refused("segment 1: count is 16, but must be a multiple", in_blocks([](auto& s) { s.row_width = 5; }));
  refused("segment 1: scale_offset is 65", in_blocks([](auto& s) { s.scale_offset = 65; }));
  refused("segment 1: its wire bytes start at 64, inside those of segment 1",
          in_blocks([](auto& s) { s.scale_offset = 64; }));
  refused("segment 1: its wire bytes start at 0, inside those of segment 0",
          in_blocks([](auto& s) { s.scale_offset = 0; }));
  refused("segment 1: scratch_dtype is 5", in_blocks([](auto& s) { s.scratch_dtype = ZO2_E4M3; }));
  refused("segment 1: scale_offset is 64, but must be 0", changed([](auto& s) { s.scale_offset = 64; }));
  rig.layout(in_blocks([](auto&) {}));
  refused("segment 1: its wire bytes start at 0, inside those of segment 0",
          changed([](auto& s) { s.wire_offset = 0; }));
  refused("segment 1: its scratch bytes start at 0", changed([](auto& s) { s.scratch_offset = 0; }));
  rig.layout({});
}

// out[r, :] = x[index[r], :] with 4 columns and at most 8 rows; the rows of out are symbol 0.
std::vector<double> gather_program() {
  return {4,
          3,
          1,
          5,
          8,
          0,
          0,
          0,
          0,  // counts, maxima
          ZO2_SPACE_WORKSPACE,
          16,
          ZO2_F32,
          -1,
          4,
          4,  // out
          ZO2_SPACE_CARRIED,
          0,
          ZO2_F32,
          6,
          4,
          4,  // x
          ZO2_SPACE_INPUTS,
          0,
          ZO2_I32,
          -1,
          1,
          1,  // index
          ZO2_OP_GATHER_ROWS,
          3,
          0,
          1,
          2};
}

void a_program_runs_over_the_buffers_it_is_given() {
  Rig rig(threads(2));
  zo2_stream* const stream = rig.stream("compute");
  const std::vector<double> words = gather_program();
  const uint64_t space_bytes[ZO2_SPACES] = {0, 96, 160, 32, 0, 0};
  zo2_run_args args = {};
  args.program = rig.program(words, space_bytes);
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_DEVICE, 160);
  rig.ok(rig.table->fill(stream, {out, 0}, 0, 160, &rig.error));
  args.spaces[ZO2_SPACE_CARRIED] = {rig.on_device(stream, ramp(24)), 0};
  args.spaces[ZO2_SPACE_WORKSPACE] = {out, 0};
  args.spaces[ZO2_SPACE_INPUTS] = {rig.on_device(stream, std::vector<int32_t>{5, 1, 0, 0, 0, 0, 0, 0}), 0};
  args.symbols[ZO2_SYMBOL_ROWS] = 2;
  const zo2_run_args good = args;
  rig.launched(rig.table->run(stream, &args, &rig.error));
  const std::vector<float> x = ramp(24);
  std::vector<float> expected(40, 0.0f);
  for (size_t c = 0; c < 4; ++c) {
    expected[4 + c] = x[5 * 4 + c];
    expected[8 + c] = x[1 * 4 + c];
  }
  CHECK(rig.read<float>(stream, out, 40) == expected);
  CHECK(rig.info().launches == 1);
  args.symbols[ZO2_SYMBOL_ROWS] = 0;
  rig.launched(rig.table->run(stream, &args, &rig.error));
  CHECK(rig.finish(stream).status == ZO2_OK);

  args.symbols[ZO2_SYMBOL_ROWS] = 9;
  invalid(rig, rig.table->run(stream, &args, &rig.error),
          "symbol 0 (rows) is 9, but the program was made for at most 8");
  args = good;
  args.spaces[ZO2_SPACE_INPUTS] = kNone;
  invalid(rig, rig.table->run(stream, &args, &rig.error), "spaces[inputs] is none");
  args = good;
  args.spaces[ZO2_SPACE_WORKSPACE].offset = 64;
  invalid(rig, rig.table->run(stream, &args, &rig.error), "spaces[workspace] needs");
  args = good;
  args.program = nullptr;
  invalid(rig, rig.table->run(stream, &args, &rig.error), "program is none");
  Rig other;
  zo2_stream* const foreign = other.stream("s");
  invalid(other, other.table->run(foreign, &good, &other.error), "another device");
  CHECK(rig.finish(stream).status == ZO2_OK);

  zo2_program* program = nullptr;
  std::vector<double> malformed = words;
  malformed.back() = 7;
  invalid(rig,
          rig.table->program_create(rig.device, malformed.data(), malformed.size(), space_bytes, &program, &rig.error),
          "");
  invalid(rig, rig.table->program_create(rig.device, nullptr, 3, space_bytes, &program, &rig.error), "words is null");
}

}  // namespace

int main() {
  for (const uint32_t count : {1u, 2u, 3u}) prepare_perturbs_with_the_noise_of_the_canonical_index(threads(count));
  zo2_device_options generic = threads(2);
  generic.generic_kernels = 1;
  prepare_perturbs_with_the_noise_of_the_canonical_index(generic);
  zo2_device_options delayed = threads(2);
  delayed.delay_microseconds = 100;
  prepare_perturbs_with_the_noise_of_the_canonical_index(delayed);
  prepare_applies_the_update_to_what_is_neither_frozen_nor_without_decay();
  a_flush_writes_the_wire_alone_and_without_store_the_wire_stays();
  a_gradient_that_is_not_finite_leaves_weights_and_raises_the_step_of_the_update();
  gathered_segments_take_the_noise_of_their_rows();
  prepare_refuses_what_it_cannot_use();
  layouts_are_checked();
  a_program_runs_over_the_buffers_it_is_given();
  return zo2::test::report();
}
