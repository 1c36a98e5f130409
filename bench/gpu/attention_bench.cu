// Causal attention at OPT shapes: one sequence of all tokens, and many short ones.
#include "bench/gpu/half_pattern.h"
#include "bench/gpu/opt_shapes.h"
#include "cuda/ops/attention.cuh"

namespace {

using zo2::bench::Device;
using zo2::bench::Line;
using zo2::bench::Memory;
using zo2::cuda::AttentionArgs;

void measure(Device& device, const zo2::bench::OptShape& opt, zo2_dtype dtype, int64_t sequences, int64_t length) {
  const int64_t rows = sequences * length;
  const uint64_t bytes = static_cast<uint64_t>(rows * opt.hidden) * zo2::bench::bytes_of(dtype);
  Memory q(bytes), k(bytes), v(bytes), out(bytes), table(static_cast<uint64_t>(sequences) * 16);
  for (Memory* memory : {&q, &k, &v}) fill_random(*memory, dtype, 1.0f);
  std::vector<int32_t> entries;
  for (int64_t i = 0; i < sequences; ++i) {
    for (const int64_t value : {i * length, length, int64_t{0}, int64_t{0}})
      entries.push_back(static_cast<int32_t>(value));
  }
  table.put(entries.data(), table.bytes());

  const auto view = [&](const Memory& memory) {
    return zo2::cuda::Matrix{memory.as<void>(), dtype, rows, opt.hidden, opt.hidden};
  };
  AttentionArgs args{};
  args.out = view(out);
  args.q = view(q);
  args.k = view(k);
  args.v = view(v);
  args.sequences = {table.as<void>(), ZO2_I32, sequences, 4, 4};
  args.heads = args.kv_heads = opt.heads;
  args.scale = 1.0f / std::sqrt(static_cast<float>(opt.hidden / opt.heads));
  const double seconds =
      device.seconds(20, [&] { zo2::bench::check(launch_attention(device.launch(), args), "attention"); });

  // Two products over the lower triangle, the diagonal included.
  const double pairs =
      static_cast<double>(sequences) * static_cast<double>(length) * static_cast<double>(length + 1) / 2;
  const double flops = 4 * pairs * static_cast<double>(opt.hidden);
  Line line;
  line.text("bench", "attention").text("case", opt.name).text("dtype", zo2::bench::name_of(dtype));
  line.number("sequences", static_cast<double>(sequences)).number("length", static_cast<double>(length));
  line.number("heads", static_cast<double>(opt.heads)).number("headSize", static_cast<double>(opt.hidden / opt.heads));
  line.figures(seconds, 4.0 * static_cast<double>(bytes), device.copy_rate(), flops, device.matrix_rate());
  line.print();
}

}  // namespace

int main() {
  Device device;
  for (const auto& opt : zo2::bench::opt_shapes()) {
    for (const zo2_dtype dtype : {ZO2_BF16, ZO2_F16}) {
      if (zo2::bench::tiny()) {
        measure(device, opt, dtype, 2, 40);
        continue;
      }
      measure(device, opt, dtype, 1, 2048);
      measure(device, opt, dtype, 2, 2048);
      measure(device, opt, dtype, 16, 256);
    }
  }
}
