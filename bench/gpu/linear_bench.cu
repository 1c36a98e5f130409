// TFLOP/s of the matrix product at OPT shapes and at the slices that units cut of them, with every epilogue.
#include "bench/gpu/half_pattern.h"
#include "bench/gpu/opt_shapes.h"
#include "cuda/ops/linear.cuh"
#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_sm90.cuh"

namespace {

using zo2::bench::Device;
using zo2::bench::Line;
using zo2::bench::Memory;
using zo2::cuda::LinearArgs;
using zo2::cuda::Matrix;

struct Shape {
  std::string name;
  int64_t m, n, k;
};

struct Kernel {
  const char* name;
  cudaError_t (*launch)(const zo2::cuda::Launch&, const LinearArgs&);
};

Matrix view(const Memory& memory, zo2_dtype dtype, int64_t rows, int64_t cols) {
  return {memory.as<void>(), dtype, rows, cols, cols};
}

struct Epilogue {
  const char* name;
  bool bias;
  int activation;
  bool residual;  // in fp32, as the residual stream is
};

constexpr Epilogue kEpilogues[] = {{"none", false, ZO2_ACTIVATION_NONE, false},
                                   {"bias", true, ZO2_ACTIVATION_NONE, false},
                                   {"bias, relu", true, ZO2_ACTIVATION_RELU, false},
                                   {"bias, fp32 residual", true, ZO2_ACTIVATION_NONE, true}};

// Each kernel alone without an epilogue; with one, that which is chosen.
std::vector<Kernel> kernels_for(Device& device, const LinearArgs& args, const Epilogue& epilogue) {
  std::vector<Kernel> kernels = {{"chosen", zo2::cuda::launch_linear}};
  if (epilogue.bias) return kernels;
  kernels.push_back({"mma", zo2::cuda::launch_linear_mma});
  if (linear_sm90_accepts(device.launch(), args)) kernels.push_back({"sm90", zo2::cuda::launch_linear_sm90});
  return kernels;
}

void measure(Device& device, const Shape& shape, zo2_dtype dtype, const Epilogue& epilogue) {
  const auto size = [](int64_t rows, int64_t cols, zo2_dtype d) {
    return static_cast<uint64_t>(rows * cols) * zo2::bench::bytes_of(d);
  };
  const zo2_dtype out_dtype = epilogue.residual ? ZO2_F32 : dtype;
  Memory x(size(shape.m, shape.k, dtype)), weight(size(shape.n, shape.k, dtype)), bias(size(1, shape.n, ZO2_F32));
  Memory out(size(shape.m, shape.n, out_dtype));
  fill_random(x, dtype, 1.0f);
  fill_random(weight, dtype, 0.02f);
  fill_random(bias, ZO2_F32, 0.1f);
  fill_random(out, out_dtype, 1.0f);

  LinearArgs args{};
  args.out = view(out, out_dtype, shape.m, shape.n);
  args.x = view(x, dtype, shape.m, shape.k);
  args.weight = view(weight, dtype, shape.n, shape.k);
  args.activation = epilogue.activation;
  uint64_t bytes = x.bytes() + weight.bytes() + out.bytes();
  if (epilogue.bias) {
    args.bias = view(bias, ZO2_F32, 1, shape.n);
    bytes += bias.bytes();
  }
  if (epilogue.residual) {
    args.residual = args.out;
    bytes += out.bytes();
  }
  const double flops = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  for (const Kernel& kernel : kernels_for(device, args, epilogue)) {
    const double seconds =
        device.seconds(20, [&] { zo2::bench::check(kernel.launch(device.launch(), args), kernel.name); });
    Line line;
    line.text("bench", "linear")
        .text("case", shape.name)
        .text("kernel", kernel.name)
        .text("dtype", zo2::bench::name_of(dtype))
        .text("epilogue", epilogue.name);
    line.number("m", static_cast<double>(shape.m))
        .number("n", static_cast<double>(shape.n))
        .number("k", static_cast<double>(shape.k));
    line.figures(seconds, static_cast<double>(bytes), device.copy_rate(), flops, device.matrix_rate());
    line.print();
  }
}

// The whole matrices of a layer, and rows of fc1 as units of 256 and 64 MiB hold them in fp16: in multiples of 256, and
// what would be left of such a unit otherwise, an odd number.
std::vector<Shape> shapes_of(const zo2::bench::OptShape& opt) {
  const std::string model = opt.name;
  const int64_t m = zo2::bench::token_count(), d = opt.hidden;
  std::vector<Shape> shapes = {
      {model + " projection", m, d, d}, {model + " fc1", m, 4 * d, d}, {model + " fc2", m, d, 4 * d}};
  for (const int64_t mebibytes : {256, 64}) {
    const int64_t rows = (mebibytes << 20) / (2 * d);
    if (rows >= 4 * d || zo2::bench::tiny()) continue;
    const std::string unit = model + " fc1 in units of " + std::to_string(mebibytes) + " MiB";
    shapes.push_back({unit, m, rows / 256 * 256, d});
    if (mebibytes == 64) shapes.push_back({unit + ", odd rows", m, rows | 1, d});
  }
  if (zo2::bench::tiny()) shapes.push_back({model + " fc1, odd rows", m, 2 * d + 1, d});
  return shapes;
}

}  // namespace

int main() {
  Device device;
  for (const auto& opt : zo2::bench::opt_shapes()) {
    for (const Shape& shape : shapes_of(opt)) {
      for (const Epilogue& epilogue : kEpilogues) measure(device, shape, ZO2_F16, epilogue);
      measure(device, shape, ZO2_BF16, kEpilogues[0]);
    }
  }
}
