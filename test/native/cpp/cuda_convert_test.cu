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

constexpr int kGroups = 65536 * kLows / cuda::kGroup;

// Thread t widens the 16-bit numbers 8 t .. 8 t + 7 if there are so many, and narrows the fp32 numbers 8 t .. 8 t + 7
// of those that `chosen` names.
ZO2_HD inline uint32_t chosen(uint32_t i) { return i / kLows << 16 | low_bits(static_cast<int>(i % kLows)); }

template <uint32_t kDtype>
__global__ void convert_kernel(float* wide, uint16_t* narrow) {
  const uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * cuda::kGroup;
  cuda::Octet<kDtype> octet;
  float x[cuda::kGroup];
  if (first < 65536) {
    for (uint32_t i = 0; i < 4; ++i) octet.words[i] = (first + 2 * i) | (first + 2 * i + 1) << 16;
    cuda::groups::widen_octet(octet, x);
    for (uint32_t i = 0; i < cuda::kGroup; ++i) wide[first + i] = x[i];
  }
  for (uint32_t i = 0; i < cuda::kGroup; ++i) x[i] = numerics::bits_float(chosen(first + i));
  cuda::groups::narrow_octet(x, octet);
  for (uint32_t i = 0; i < cuda::kGroup; ++i)
    narrow[first + i] = static_cast<uint16_t>(octet.words[i / 2] >> (i % 2 * 16));
}

// Every number of 16 bits and the neighbourhood of every border, NaN included: in groups of like numbers, and of some
// that are NaN and some that are not.
template <uint32_t kDtype>
void conversions(CudaRig& rig) {
  Guarded wide(65536 * sizeof(float)), narrow(65536 * kLows * sizeof(uint16_t));
  MUST(ZO2_LAUNCH(convert_kernel<kDtype>, kGroups / 256, 256, 0, rig.launch().stream, wide.at<float>(),
                  narrow.at<uint16_t>()));
  rig.finish();
  const std::vector<uint32_t> widened = wide.get<uint32_t>();
  const std::vector<uint16_t> narrowed = narrow.get<uint16_t>();
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t half = static_cast<uint16_t>(h);
    const float expected = kDtype == ZO2_F16 ? numerics::f16_to_f32(half) : numerics::bf16_to_f32(half);
    CHECK(widened[h] == numerics::float_bits(expected), "dtype %u: %04x", kDtype, h);
  }
  for (uint32_t i = 0; i < 65536 * kLows; ++i) {
    const float x = numerics::bits_float(chosen(i));
    CHECK(narrowed[i] == (kDtype == ZO2_F16 ? numerics::f32_to_f16(x) : numerics::f32_to_bf16(x)),
          "dtype %u: fp32 %08x", kDtype, chosen(i));
  }
}

// Stochastic rounding of finite numbers: the neighbourhood of every border with words around every carry.
template <uint32_t kDtype>
void stochastic() {
  constexpr uint32_t words[] = {0, 1, 0xfff, 0x1000, 0x1ffe, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xffff, 0x12345678, ~0u};
  for (const uint32_t word : words) {
    for (uint32_t i = 0; i < 65536 * kLows; i += cuda::kGroup) {
      float x[cuda::kGroup];
      numerics::PhiloxWords random[2];
      for (uint32_t k = 0; k < cuda::kGroup; ++k) {
        x[k] = numerics::bits_float(chosen(i + k));
        random[k / 4].x[k % 4] = word + k;
      }
      cuda::Octet<kDtype> octet;
      octet.narrow_stochastic(x, random);
      for (uint32_t k = 0; k < cuda::kGroup; ++k) {
        const uint32_t found = octet.words[k / 2] >> (k % 2 * 16) & 0xffffu;
        const uint32_t expected = kDtype == ZO2_F16 ? numerics::f32_to_f16_stochastic(x[k], word + k)
                                                    : numerics::f32_to_bf16_stochastic(x[k], word + k);
        CHECK(found == expected || !numerics::f32_is_finite(x[k]), "dtype %u: fp32 %08x, word %x", kDtype,
              chosen(i + k), word + k);
      }
    }
  }
}

}  // namespace

int main() {
  CudaRig rig;
  conversions<ZO2_F16>(rig);
  conversions<ZO2_BF16>(rig);
#if ZO2_EMULATED
  // On the host: with a GPU, cuda_prepare_test looks at it alone.
  stochastic<ZO2_F16>();
  stochastic<ZO2_BF16>();
#endif
  return test::report();
}
