// The conversions that the device has for itself give the bits of numerics/.
#include <vector>

#include "cuda/kernel.h"
#include "cuda/ops/prepare_group.cuh"
#include "test/native/cpp/cuda_rig.h"

using namespace zo2;
using test::CudaRig;
using test::Guarded;

namespace {

// The low 16 bits of the fp32 numbers whose fp16 is looked at: around every border that rounding to 10 bits of mantissa
// knows.
constexpr int kLows = 10;
ZO2_HD inline uint32_t low_bits(int i) {
  constexpr uint32_t lows[kLows] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x3000, 0x8000, 0xffff};
  return lows[i];
}

// Thread h widens the fp16 number h, and narrows the fp32 numbers whose upper half is h.
__global__ void convert_kernel(float* wide, uint16_t* narrow) {
  const uint32_t h = blockIdx.x * blockDim.x + threadIdx.x;
  wide[h] = cuda::groups::widen_f16(static_cast<uint16_t>(h));
  for (int i = 0; i < kLows; ++i)
    narrow[h * kLows + i] = cuda::groups::narrow_f16(numerics::bits_float(h << 16 | low_bits(i)));
}

// Every fp16 number and the neighbourhood of every border, NaN included.
void conversions(CudaRig& rig) {
  Guarded wide(65536 * sizeof(float)), narrow(65536 * kLows * sizeof(uint16_t));
  MUST(ZO2_LAUNCH(convert_kernel, 256, 256, 0, rig.launch().stream, wide.at<float>(), narrow.at<uint16_t>()));
  rig.finish();
  const std::vector<uint32_t> widened = wide.get<uint32_t>();
  const std::vector<uint16_t> narrowed = narrow.get<uint16_t>();
  for (uint32_t h = 0; h < 65536; ++h) {
    CHECK(widened[h] == numerics::float_bits(numerics::f16_to_f32(static_cast<uint16_t>(h))), "fp16 %04x", h);
    for (int i = 0; i < kLows; ++i) {
      const uint32_t bits = h << 16 | low_bits(i);
      CHECK(narrowed[h * kLows + static_cast<uint32_t>(i)] == numerics::f32_to_f16(numerics::bits_float(bits)),
            "fp32 %08x", bits);
    }
  }
}

}  // namespace

int main() {
  CudaRig rig;
  conversions(rig);
  return test::report();
}
