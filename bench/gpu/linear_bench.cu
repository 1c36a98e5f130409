// TFLOP/s of the matrix product at OPT shapes: each kernel alone, without an epilogue and with the one that OPT gives
// it.
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

void measure(Device& device, const Shape& shape, zo2_dtype dtype, bool as_in_opt) {
  const auto size = [](int64_t rows, int64_t cols, zo2_dtype d) {
    return static_cast<uint64_t>(rows * cols) * zo2::bench::bytes_of(d);
  };
  const zo2_dtype out_dtype = as_in_opt ? ZO2_F32 : dtype;
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
  uint64_t bytes = x.bytes() + weight.bytes() + out.bytes();
  if (as_in_opt) {
    args.bias = view(bias, ZO2_F32, 1, shape.n);
    args.residual = args.out;
    bytes += bias.bytes() + out.bytes();
  }
  const double flops = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);

  std::vector<Kernel> kernels = {{"chosen", zo2::cuda::launch_linear}, {"mma", zo2::cuda::launch_linear_mma}};
  if (linear_sm90_accepts(device.launch(), args)) kernels.push_back({"sm90", zo2::cuda::launch_linear_sm90});
  for (const Kernel& kernel : kernels) {
    const double seconds =
        device.seconds(20, [&] { zo2::bench::check(kernel.launch(device.launch(), args), kernel.name); });
    Line line;
    line.text("bench", "linear")
        .text("case", shape.name)
        .text("kernel", kernel.name)
        .text("dtype", zo2::bench::name_of(dtype));
    line.text("epilogue", as_in_opt ? "bias, fp32 residual" : "none");
    line.number("m", static_cast<double>(shape.m))
        .number("n", static_cast<double>(shape.n))
        .number("k", static_cast<double>(shape.k));
    line.figures(seconds, static_cast<double>(bytes), device.copy_rate(), flops, device.matrix_rate());
    line.print();
  }
}

}  // namespace

int main() {
  Device device;
  for (const auto& opt : zo2::bench::opt_shapes()) {
    for (const int64_t m : zo2::bench::token_counts()) {
      const std::string model = opt.name;
      for (const Shape& shape : {Shape{model + " projection", m, opt.hidden, opt.hidden},
                                 Shape{model + " fc1", m, 4 * opt.hidden, opt.hidden},
                                 Shape{model + " fc2", m, opt.hidden, 4 * opt.hidden}}) {
        measure(device, shape, ZO2_BF16, false);
        measure(device, shape, ZO2_BF16, true);
        measure(device, shape, ZO2_F16, false);
      }
    }
  }
}
