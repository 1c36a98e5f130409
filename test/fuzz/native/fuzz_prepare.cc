// layout_create and prepare with arguments from outside: refused with a message, or run within the buffers that were
// given, to the same bytes whatever the number of threads.
#include <algorithm>

#include "contract/layout.h"
#include "drawn.h"

namespace {

using namespace zo2::fuzz;

constexpr uint64_t kMostBytes = 32768;
constexpr uint64_t kMostElements = 600;

std::vector<zo2_segment> drawn_segments(FuzzedDataProvider& from) {
  std::vector<zo2_segment> segments(from.ConsumeIntegralInRange<size_t>(0, 5));
  // One after the other, as a plan lays them out; or anywhere.
  const bool tidy = from.ConsumeIntegralInRange(0, 7) != 0;
  uint64_t wire = 0, scratch = 0;
  for (zo2_segment& s : segments) {
    s.canonical = drawn(from, 4096);
    s.wire_dtype = static_cast<uint32_t>(drawn(from, 2));
    s.scratch_dtype = static_cast<uint32_t>(drawn(from, 2));
    s.flags = static_cast<uint32_t>(drawn(from, 7));
    s.row_width = (s.flags & ZO2_SEGMENT_GATHERED) != 0 || from.ConsumeBool() ? 1 + drawn(from, 40) : 0;
    s.first_row = static_cast<uint32_t>(drawn(from, s.row_width == 0 ? 1 : s.canonical / s.row_width));
    s.count = drawn(from, kMostElements);
    if (s.row_width != 0 && tidy) s.count = s.count / s.row_width * s.row_width;
    s.wire_offset = tidy ? wire : 64 * drawn(from, 64);
    s.scratch_offset = tidy ? scratch : 64 * drawn(from, 64);
    wire = (s.wire_offset + s.count * 4 + 63) / 64 * 64;
    scratch = (s.scratch_offset + s.count * 4 + 63) / 64 * 64;
  }
  return segments;
}

class LayoutOwner {
 public:
  LayoutOwner(World& world, const std::vector<zo2_segment>& segments) {
    if (!accepted(table().layout_create(world.device(), segments.data(), segments.size(), &layout, &world.error),
                  world.error) &&
        layout != nullptr) {
      violation("a layout that was refused is there:", world.error.message);
    }
  }
  ~LayoutOwner() { table().layout_destroy(layout); }
  LayoutOwner(const LayoutOwner&) = delete;
  LayoutOwner& operator=(const LayoutOwner&) = delete;

  zo2_layout* layout = nullptr;
};

zo2_update drawn_update(FuzzedDataProvider& from, World& world, uint64_t canonical_end) {
  zo2_update update = {};
  draw(from, &update.noise, 3);
  update.rank = static_cast<uint32_t>(drawn(from, 4));
  update.interval = static_cast<uint32_t>(drawn(from, 9));
  update.step = from.ConsumeIntegral<uint32_t>();
  update.directions = static_cast<uint32_t>(drawn(from, 5));
  update.seed = from.ConsumeIntegral<uint64_t>();
  const uint64_t directions = std::min<uint64_t>(update.directions, 64);
  update.coefficients = drawn_span(from, world, directions * sizeof(zo2_coefficient), alignof(zo2_coefficient));
  fill(from, update.coefficients, true);
  update.learning_rate = from.ConsumeFloatingPointInRange<double>(-1, 1);
  update.weight_decay = from.ConsumeBool() ? from.ConsumeFloatingPoint<double>() : 0.1;
  update.z_stride = 4 * drawn(from, canonical_end);
  update.z = drawn_span(from, world, directions * std::min(update.z_stride, kMostBytes) + canonical_end * 4, 4);
  fill(from, update.z, true);
  return update;
}

struct Outcome {
  bool accepted;
  zo2_status status;
  std::vector<uint8_t> bytes;
};

Outcome prepare_on(zo2_device* device, const uint8_t* data, size_t bytes) {
  FuzzedDataProvider from(data, bytes);
  from.ConsumeBool();  // which kernels
  World world(device);
  const LayoutOwner owner(world, drawn_segments(from));
  if (owner.layout == nullptr) return {};
  const auto& layout = *reinterpret_cast<const zo2::contract::Layout*>(owner.layout);
  zo2_prepare_args args = {};
  args.layout = owner.layout;
  args.row_count = drawn(from, 8);
  const uint64_t rows = layout.gathered() ? std::min(args.row_count, layout.most_rows()) : 0;
  const uint64_t canonical_end = std::min<uint64_t>(layout.canonical_end(), kMostBytes / 4);
  if (layout.wire_bytes(rows) > kMostBytes || layout.scratch_bytes(rows) > kMostBytes) return {};
  args.wire = drawn_span(from, world, layout.wire_bytes(rows), 64);
  fill(from, args.wire, true);
  std::vector<zo2_side> sides(from.ConsumeIntegralInRange<size_t>(0, 3));
  for (zo2_side& side : sides) {
    side.scratch = drawn_span(from, world, layout.scratch_bytes(rows), 64);
    side.eps = from.ConsumeBool() ? 1e-3f : from.ConsumeFloatingPoint<float>();
  }
  args.sides = sides.data();
  args.side_count = static_cast<uint32_t>(sides.size());
  args.rows = drawn_span(from, world, rows * 4, 4);
  fill(from, args.rows, false);
  draw(from, &args.noise, 3);
  args.rank = static_cast<uint32_t>(drawn(from, 4));
  args.interval = static_cast<uint32_t>(drawn(from, 9));
  args.seed = from.ConsumeIntegral<uint64_t>();
  args.step = from.ConsumeIntegral<uint32_t>();
  args.direction = static_cast<uint32_t>(drawn(from, 63));
  // Room for the rows that a gathered segment may name.
  args.z = drawn_span(from, world, canonical_end * 4 + from.ConsumeIntegralInRange<uint64_t>(0, 512) * 4, 4);
  fill(from, args.z, true);
  args.store = from.ConsumeBool() ? 1 : 0;
  draw(from, &args.rounding, 1);
  args.sticky = drawn_span(from, world, sizeof(zo2_sticky), 4);
  std::vector<zo2_update> updates(from.ConsumeIntegralInRange<size_t>(0, 3));
  for (zo2_update& update : updates) update = drawn_update(from, world, canonical_end);
  args.updates = updates.data();
  args.update_count = static_cast<uint32_t>(updates.size());
  if (!accepted(table().prepare(world.stream(), &args, &world.error), world.error)) return {};
  const zo2_status status = world.finish();
  return {true, status, world.contents()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const Devices& on = devices(FuzzedDataProvider(data, bytes).ConsumeBool());
  const Outcome one = prepare_on(on.one, data, bytes), three = prepare_on(on.three, data, bytes);
  if (one.accepted != three.accepted || one.status != three.status) violation("another status with three threads");
  if (one.status == ZO2_OK && one.bytes != three.bytes) violation("other bytes with three threads");
  return 0;
}
