// The software fma has the bits of the hardware's, on 10^7 random operands of every kind and on all pairings of special
// values.
#include "numerics/soft_fma.h"

#include <math.h>

#include <vector>

#include "numerics/ops.h"
#include "test/native/cpp/check.h"

using namespace zo2::numerics;

#if defined(__x86_64__)
#include <immintrin.h>
__attribute__((target("fma"))) static float hardware_fma(float a, float b, float c) {
  return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}
static bool has_hardware_fma() { return __builtin_cpu_supports("fma"); }
#else
static float hardware_fma(float a, float b, float c) { return fmaf(a, b, c); }
static bool has_hardware_fma() { return true; }
#endif

static uint64_t state = 0x9e3779b97f4a7c15ull;
static uint32_t random_bits() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>(state >> 16);
}

static bool same(float a, float b, float c, float (*reference)(float, float, float)) {
  const float soft = soft_fma(a, b, c), hard = reference(a, b, c);
  if (hard != hard) return soft != soft;
  return float_bits(soft) == float_bits(hard);
}

int main() {
  float (*const reference)(float, float, float) =
      has_hardware_fma() ? hardware_fma : static_cast<float (*)(float, float, float)>(fmaf);
  printf("reference: %s\n", has_hardware_fma() ? "hardware" : "libm");

  std::vector<float> special;
  for (uint32_t sign = 0; sign < 2; ++sign) {
    for (uint32_t exponent : {0u, 1u, 2u, 24u, 103u, 126u, 127u, 128u, 150u, 151u, 230u, 253u, 254u, 255u}) {
      for (uint32_t mantissa : {0u, 1u, 2u, 0x400000u, 0x400001u, 0x3fffffu, 0x7ffffeu, 0x7fffffu}) {
        special.push_back(bits_float(sign << 31 | exponent << 23 | mantissa));
      }
    }
  }
  uint64_t wrong = 0, total = 0;
  for (const float a : special) {
    for (const float b : special) {
      for (const float c : special) wrong += !same(a, b, c, reference), ++total;
    }
  }
  CHECK(wrong == 0, "%llu of %llu special triples differ", static_cast<unsigned long long>(wrong),
        static_cast<unsigned long long>(total));

  const uint64_t draws = 10000000;
  uint64_t wrong_any = 0, wrong_near = 0, wrong_cancel = 0, wrong_halfway = 0, wrong_subnormal = 0;
  for (uint64_t n = 0; n < draws; ++n) {
    const float a = bits_float(random_bits()), b = bits_float(random_bits());
    wrong_any += !same(a, b, bits_float(random_bits()), reference);
    // Operands near 1, addends of every size relative to the product.
    const float x = bits_float(0x3f800000u | (random_bits() & 0x807fffffu)),
                y = bits_float(0x3f800000u | (random_bits() & 0x7fffffu));
    const float addend = bits_float((random_bits() & 0x807fffffu) | (127u - 60u + random_bits() % 120u) << 23);
    wrong_near += !same(x, y, addend, reference);
    // The addend cancels the rounded product, or all but its last places.
    wrong_cancel += !same(x, y, bits_float(float_bits(-(x * y)) + random_bits() % 5u - 2u), reference);
    // The product is 2^-24 (1 - k^2 2^-46) and the addend in [1, 2): a hair beside a tie, closer than fp64 can tell.
    const float k = static_cast<float>(random_bits() % 200u);
    const float above = 1.0f + k * 0x1p-23f,
                below = (1.0f - k * 0x1p-23f) * (random_bits() & 1u ? 0x1p-24f : -0x1p-24f);
    wrong_halfway += !same(above, below, x, reference);
    // Results among the subnormals.
    const float tiny = bits_float((random_bits() & 0x807fffffu) | (127u - 126u - random_bits() % 2u) << 23);
    const float small = bits_float((random_bits() & 0x807fffffu) | (127u - 1u - random_bits() % 30u) << 23);
    wrong_subnormal += !same(tiny, small, bits_float(random_bits() & 0x807fffffu), reference);
  }
  CHECK(wrong_any == 0, "%llu of 10^7 random patterns differ", static_cast<unsigned long long>(wrong_any));
  CHECK(wrong_near == 0, "%llu of 10^7 products near 1 differ", static_cast<unsigned long long>(wrong_near));
  CHECK(wrong_cancel == 0, "%llu of 10^7 cancellations differ", static_cast<unsigned long long>(wrong_cancel));
  CHECK(wrong_halfway == 0, "%llu of 10^7 halfway cases differ", static_cast<unsigned long long>(wrong_halfway));
  CHECK(wrong_subnormal == 0, "%llu of 10^7 subnormal results differ",
        static_cast<unsigned long long>(wrong_subnormal));
  return zo2::test::report();
}
