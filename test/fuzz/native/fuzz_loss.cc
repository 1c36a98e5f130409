// loss, gradient, copy, fill and gather with arguments from outside: refused with a message, or run within the buffers
// that were given.
#include <algorithm>

#include "drawn.h"

namespace {

using namespace zo2::fuzz;

constexpr uint64_t kMostRows = 24;
constexpr uint64_t kMostProbes = 5;

void enqueue_loss(FuzzedDataProvider& from, World& world, const zo2_span& losses) {
  zo2_loss_args args = {};
  draw(from, &args.kind, ZO2_LOSS_SPANS);
  args.targets = drawn(from, kMostRows);
  args.values = drawn_span(from, world, args.targets > kMostRows ? 64 : args.targets * 4, 4);
  fill(from, args.values, true);
  args.labels = drawn_span(from, world, args.targets > kMostRows ? 64 : args.targets * 4, 4);
  fill(from, args.labels, true);
  args.choice_count = drawn(from, kMostRows);
  args.choices = drawn_span(from, world, args.choice_count > kMostRows ? 64 : args.choice_count * 8, 4);
  fill(from, args.choices, false);
  args.example_count = drawn(from, kMostRows);
  args.examples = drawn_span(from, world, args.example_count > kMostRows ? 64 : args.example_count * 16, 4);
  fill(from, args.examples, false);
  args.losses = losses;
  args.probe = static_cast<uint32_t>(drawn(from, kMostProbes - 1));
  args.first = from.ConsumeBool() ? 1 : 0;
  accepted(table().loss(world.stream(), &args, &world.error), world.error);
}

void enqueue_gradient(FuzzedDataProvider& from, World& world, const zo2_span& losses) {
  zo2_gradient_args args = {};
  args.losses = losses;
  args.probe_count = static_cast<uint32_t>(drawn(from, kMostProbes));
  args.total = from.ConsumeBool() ? 4 : from.ConsumeFloatingPoint<double>();
  args.divisor = from.ConsumeBool() ? 1e-3 : from.ConsumeFloatingPoint<double>();
  std::vector<zo2_difference> differences(from.ConsumeIntegralInRange(0, 7) == 0
                                              ? from.ConsumeIntegralInRange<size_t>(0, 65)
                                              : from.ConsumeIntegralInRange<size_t>(1, 4));
  const uint64_t last = std::clamp<uint64_t>(args.probe_count, 1, kMostProbes) - 1;
  for (zo2_difference& difference : differences)
    difference = {static_cast<uint32_t>(drawn(from, last)), static_cast<uint32_t>(drawn(from, last))};
  args.differences = differences.data();
  args.direction_count = static_cast<uint32_t>(differences.size());
  args.coefficients = drawn_span(from, world, differences.size() * sizeof(zo2_coefficient), alignof(zo2_coefficient));
  args.step = from.ConsumeIntegral<uint32_t>();
  args.sticky = drawn_span(from, world, sizeof(zo2_sticky), 4);
  accepted(table().gradient(world.stream(), &args, &world.error), world.error);
}

void enqueue_gather(FuzzedDataProvider& from, World& world) {
  const uint64_t count = drawn(from, kMostRows), row_bytes = drawn(from, 32);
  const uint64_t bytes = count > kMostRows || row_bytes > 32 ? 64 : count * row_bytes;
  const zo2_span dst = drawn_span(from, world, bytes, 1), src = drawn_span(from, world, bytes, 1);
  const zo2_span rows = drawn_span(from, world, count > kMostRows ? 64 : count * 4, 4, ZO2_BUFFER_HOST);
  fill(from, src, true);
  fill(from, rows, false);
  const int64_t base = static_cast<int64_t>(drawn(from, 3));
  accepted(table().gather(world.stream(), dst, src, rows, count, base, row_bytes, &world.error), world.error);
}

void enqueue_copy(FuzzedDataProvider& from, World& world) {
  const uint64_t bytes = drawn(from, 256);
  const zo2_span dst = drawn_span(from, world, bytes, 1);
  zo2_span src = drawn_span(from, world, bytes, 1);
  if (from.ConsumeIntegralInRange(0, 7) == 0) src.buffer = dst.buffer;
  accepted(table().copy(world.stream(), dst, src, bytes, &world.error), world.error);
  accepted(table().fill(world.stream(), dst, from.ConsumeIntegral<uint8_t>(), bytes, &world.error), world.error);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  FuzzedDataProvider from(data, bytes);
  World world(devices(from.ConsumeBool()).one);
  const zo2_span losses = drawn_span(from, world, kMostProbes * sizeof(double), alignof(double));
  for (int left = from.ConsumeIntegralInRange(1, 6); left > 0; left--) {
    switch (from.ConsumeIntegralInRange(0, 5)) {
      case 0:
        enqueue_gather(from, world);
        break;
      case 1:
        enqueue_copy(from, world);
        break;
      case 2:
        enqueue_gradient(from, world, losses);
        break;
      default:
        enqueue_loss(from, world, losses);
    }
  }
  world.finish();
  return 0;
}
