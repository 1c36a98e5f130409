// What the predictions need to know of the device, and whether its own matrix product is in this build.
#include "bench/gpu/bench.h"
#include "contract/zo2.h"
#include "cuda/ops/linear_sm90.cuh"

namespace {

using zo2::bench::Device;
using zo2::bench::Memory;

int attribute(cudaDeviceAttr name) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, name, 0) == cudaSuccess ? value : 0;
}

// A product that fills any device, so that only device and build decide.
bool runs_hopper_kernel(Device& device) {
  const int64_t size = zo2::bench::tiny() ? 512 : 8192;
  Memory memory(static_cast<uint64_t>(size * size) * 2);
  const zo2::cuda::Matrix matrix{memory.as<void>(), ZO2_F16, size, size, size};
  zo2::cuda::LinearArgs args{};
  args.out = args.x = args.weight = matrix;
  return linear_sm90_accepts(device.launch(), args);
}

}  // namespace

int main() {
  Device device;
  zo2::bench::Line line;
  line.text("bench", "device").text("name", device.properties.name).number("capability", device.capability());
  line.number("multiprocessors", device.properties.multiProcessorCount);
  line.number("clockHertz", 1e3 * attribute(cudaDevAttrClockRate));
  // Two transfers a clock, as data sheets count them.
  line.number("memoryBytesPerSecond",
              2e3 * attribute(cudaDevAttrMemoryClockRate) * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8);
  line.number("flopsPerSecond", device.matrix_rate()).number("copyBytesPerSecond", device.copy_rate());
  line.number("hopperKernel", runs_hopper_kernel(device) ? 1 : 0);
  line.print();
}
