// Achieved bandwidth of what is limited by device memory: prepare with every noise and update, layerNorm and rmsNorm.
#include "bench/gpu/half_pattern.h"
#include "contract/layout.h"
#include "cuda/ops/layer_norm.cuh"
#include "cuda/ops/prepare.cuh"
#include "cuda/ops/rms_norm.cuh"

namespace {

using zo2::bench::bytes_of;
using zo2::bench::Device;
using zo2::bench::Line;
using zo2::bench::Memory;
using zo2::bench::name_of;

struct Visit {
  zo2_dtype wire;
  zo2_dtype scratch;
  zo2_noise_kind noise;
  bool update;  // a pending one, stored
};

void measure_prepare(Device& device, const Visit& visit) {
  const uint64_t count = zo2::bench::tiny() ? 5000 : uint64_t{1} << 28;
  zo2_segment segment{};
  segment.count = count;
  segment.wire_dtype = visit.wire;
  segment.scratch_dtype = visit.scratch;
  segment.flags = ZO2_SEGMENT_DECAY;
  const zo2::contract::Layout layout(nullptr, &segment, 1);

  Memory wire(count * bytes_of(visit.wire)), plus(count * bytes_of(visit.scratch)),
      minus(count * bytes_of(visit.scratch));
  fill_random(wire, visit.wire, 0.02f);
  Memory segments(sizeof segment), coefficients(sizeof(zo2_coefficient)), sticky(sizeof(zo2_sticky)),
      tally(sizeof(zo2::cuda::PrepareTally));
  segments.put(&segment, sizeof segment);
  const zo2_coefficient coefficient{1.0f, 1};
  coefficients.put(&coefficient, sizeof coefficient);
  const std::vector<uint8_t> zeros(64, 0);
  sticky.put(zeros.data(), sticky.bytes());
  tally.put(zeros.data(), tally.bytes());

  zo2::contract::PrepareCommand command{};
  command.layout = &layout;
  command.wire = wire.as<uint8_t>();
  command.sides[0] = {plus.as<uint8_t>(), 1e-3f};
  command.sides[1] = {minus.as<uint8_t>(), -1e-3f};
  command.side_count = 2;
  command.draws = true;
  command.noise = visit.noise;
  command.seed = 1;
  command.step = 7;
  command.rounding = ZO2_ROUND_NEAREST;
  command.noise_elements = UINT64_MAX;
  if (visit.update) {
    zo2::contract::PendingUpdate pending{};
    pending.noise = visit.noise;
    pending.step = 6;
    pending.directions = 1;
    pending.seed = 1;
    pending.learning_rate = 1e-7;
    pending.coefficients = coefficients.as<zo2_coefficient>();
    command.updates.push_back(pending);
    command.store = true;
    command.sticky = sticky.as<zo2_sticky>();
  }
  const zo2::cuda::PrepareResources resources{segments.as<zo2_segment>(), nullptr, tally.as<zo2::cuda::PrepareTally>()};
  const double seconds =
      device.seconds(10, [&] { zo2::bench::check(launch_prepare(device.launch(), command, resources), "prepare"); });

  const uint64_t bytes = wire.bytes() * (visit.update ? 2 : 1) + plus.bytes() + minus.bytes();
  Line line;
  line.text("bench", "prepare").text("case", visit.update ? "update and perturb" : "perturb");
  line.text("noise", visit.noise == ZO2_NOISE_GAUSSIAN ? "gaussian" : "rademacher");
  line.text("wire", name_of(visit.wire))
      .text("scratch", name_of(visit.scratch))
      .number("elements", static_cast<double>(count));
  line.figures(seconds, static_cast<double>(bytes), device.copy_rate(), 0, 0);
  line.print();
}

void measure_norms(Device& device, int64_t columns, zo2_dtype dtype) {
  // Rows for a few hundred MiB: several times the caches.
  const int64_t rows = zo2::bench::tiny() ? 9 : (int64_t{1} << 26) / columns;
  const uint64_t count = static_cast<uint64_t>(rows * columns);
  Memory x(count * 4), out(count * bytes_of(dtype)), gain(static_cast<uint64_t>(columns) * 4),
      bias(static_cast<uint64_t>(columns) * 4);
  fill_random(x, ZO2_F32, 1.0f);
  fill_random(gain, ZO2_F32, 1.0f);
  fill_random(bias, ZO2_F32, 1.0f);
  const auto row = [&](const Memory& memory) {
    return zo2::cuda::Matrix{memory.as<void>(), ZO2_F32, 1, columns, columns};
  };
  const zo2::cuda::Matrix from{x.as<void>(), ZO2_F32, rows, columns, columns},
      to{out.as<void>(), dtype, rows, columns, columns};
  const auto print = [&](const char* bench, double seconds, uint64_t vectors) {
    Line line;
    line.text("bench", bench)
        .text("case", std::to_string(rows) + " x " + std::to_string(columns))
        .text("out", name_of(dtype));
    line.figures(seconds, static_cast<double>(x.bytes() + out.bytes() + vectors), device.copy_rate(), 0, 0);
    line.print();
  };
  const zo2::cuda::LayerNormArgs layer{to, from, row(gain), row(bias), 1e-5f};
  const auto run_layer = [&] { zo2::bench::check(launch_layer_norm(device.launch(), layer), "layerNorm"); };
  print("layerNorm", device.seconds(20, run_layer), gain.bytes() + bias.bytes());
  const zo2::cuda::RmsNormArgs rms{to, from, row(gain), 1e-5f};
  const auto run_rms = [&] { zo2::bench::check(launch_rms_norm(device.launch(), rms), "rmsNorm"); };
  print("rmsNorm", device.seconds(20, run_rms), gain.bytes());
}

}  // namespace

int main() {
  Device device;
  for (const zo2_noise_kind noise : {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER}) {
    for (const bool update : {false, true}) {
      for (const zo2_dtype wire : {ZO2_F32, ZO2_F16, ZO2_BF16})
        measure_prepare(device, {wire, wire == ZO2_F16 ? ZO2_F16 : ZO2_BF16, noise, update});
    }
  }
  for (const int64_t columns : {2048, 4096, 5120})
    measure_norms(device, zo2::bench::tiny() ? columns / 32 : columns, ZO2_BF16);
}
