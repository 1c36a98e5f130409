// The CPU backend's own kernels where ops do not show what they do: exp and storage conversions, in both flavours.
#include <cmath>
#include <vector>

#include "check.h"
#include "cpu/ops/kernels.h"
#include "cpu/runtime/cpu_features.h"
#include "numerics/rounding.h"
#include "random.h"

namespace {

using zo2::test::Random;

// exp itself: the sum over a row of one element.
void test_exponential(const zo2::cpu::OpKernels& kernels) {
  double worst = 0;
  float worst_at = 0;
  for (int i = 0; i <= 2000000; i++) {
    const float x = static_cast<float>(-87.3 + 175.3 * i / 2000000);
    const double error = std::fabs(kernels.exponential_sum(&x, 0, 1) / std::exp(static_cast<double>(x)) - 1);
    if (error > worst) worst = error, worst_at = x;
  }
  CHECK(worst < 2e-7, "%s: exp(%g) is off by %.3g, relative", kernels.name, static_cast<double>(worst_at), worst);
  const float low[] = {-87.4f, -1000, -HUGE_VALF}, nan = std::nanf("");
  CHECK(kernels.exponential_sum(low, 0, 3) == 0, "%s: far below, exp is 0", kernels.name);
  CHECK(std::isnan(kernels.exponential_sum(&nan, 0, 1)), "%s: exp of NaN is NaN", kernels.name);
}

// Storage conversions against the scalar ones of numerics/: every fp16 and bf16 pattern, and fp32 patterns of all
// sizes, halfway cases too.
void test_storage(const zo2::cpu::OpKernels& kernels) {
  using namespace zo2::numerics;
  int64_t wide_wrong = 0, narrow_wrong = 0;
  std::vector<uint16_t> halves(65536 + 3);
  for (size_t i = 0; i < halves.size(); i++) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> floats(halves.size());
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    kernels.widen(dtype, halves.data(), floats.data(), static_cast<int64_t>(floats.size()));
    for (size_t i = 0; i < floats.size(); i++) {
      const float expected = dtype == ZO2_F16 ? f16_to_f32(halves[i]) : bf16_to_f32(halves[i]);
      wide_wrong += std::isnan(expected) ? !std::isnan(floats[i]) : float_bits(expected) != float_bits(floats[i]);
    }
  }
  Random random(9);
  std::vector<float> source(100003);
  for (size_t i = 0; i < source.size(); i++) {
    const uint32_t bits = static_cast<uint32_t>(random.bits()), halfway = i % 3 == 0 ? 0x8000u : 0x1000u;
    source[i] = bits_float(i % 2 == 0 ? bits : (bits & ~(2 * halfway - 1)) | halfway);
  }
  std::vector<uint16_t> out(source.size());
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    kernels.narrow(source.data(), dtype, out.data(), static_cast<int64_t>(source.size()));
    for (size_t i = 0; i < source.size(); i++)
      narrow_wrong += out[i] != (dtype == ZO2_F16 ? f32_to_f16(source[i]) : f32_to_bf16(source[i]));
  }
  CHECK(wide_wrong == 0 && narrow_wrong == 0, "%s: %lld widened and %lld narrowed values differ from numerics/",
        kernels.name, static_cast<long long>(wide_wrong), static_cast<long long>(narrow_wrong));
}

}  // namespace

int main() {
  for (bool vectorised : {false, true}) {
    if (vectorised && !zo2::cpu::has_avx2_fma_f16c()) continue;
    test_exponential(zo2::cpu::op_kernels(vectorised));
    test_storage(zo2::cpu::op_kernels(vectorised));
  }
  return zo2::test::report();
}
