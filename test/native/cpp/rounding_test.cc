// Conversions between fp32 and fp16/bf16 against the compiler's _Float16, against a double-precision definition, and
// against each other between the two sets of kernels.
#include "numerics/rounding.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "cpu/ops/tile.h"
#include "test/native/cpp/check.h"

using namespace zo2;
using namespace zo2::numerics;

static bool is_nan16(uint16_t half, uint32_t exponent_mask) { return (half & 0x7fffu) > exponent_mask; }

// Nearest even by definition: the candidates around x are compared in double precision, where every distance is exact.
static uint16_t nearest_by_search(float x, float (*widen)(uint16_t), uint16_t infinity) {
  const uint16_t sign = signbit(x) ? 0x8000 : 0;
  const double magnitude = fabs(static_cast<double>(x));
  uint32_t low = 0, high = infinity;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (static_cast<double>(widen(static_cast<uint16_t>(middle))) <= magnitude ? low : high) = middle;
  }
  // The value after the largest finite one counts as if its binade existed.
  const double below = static_cast<double>(widen(static_cast<uint16_t>(low)));
  const double above = high == infinity ? 2 * below - static_cast<double>(widen(static_cast<uint16_t>(low - 1)))
                                        : static_cast<double>(widen(static_cast<uint16_t>(high)));
  if (isinf(x)) return sign | infinity;
  const double to_below = magnitude - below, to_above = above - magnitude;
  const uint32_t chosen = to_below < to_above || (to_below == to_above && low % 2 == 0) ? low : high;
  return static_cast<uint16_t>(sign | chosen);
}

static void all_half_patterns() {
  for (uint32_t k = 0; k < 65536; ++k) {
    const uint16_t half = static_cast<uint16_t>(k);
    const float wide = f16_to_f32(half), wide_b = bf16_to_f32(half);
    if (is_nan16(half, 0x7c00)) {
      CHECK(isnan(wide) && f32_to_f16(wide) == (half | 0x200u), "fp16 NaN %04x", k);
    } else {
      CHECK(f32_to_f16(wide) == half, "fp16 %04x comes back as %04x", k, f32_to_f16(wide));
#if defined(__FLT16_MAX__)
      _Float16 native;
      memcpy(&native, &half, 2);
      CHECK(float_bits(static_cast<float>(native)) == float_bits(wide), "fp16 %04x widens to %a", k,
            static_cast<double>(wide));
#endif
      CHECK(f32_to_f16_stochastic(wide, 0xffffffffu) == half,
            "fp16 %04x is exact but moves when rounded stochastically", k);
    }
    if (is_nan16(half, 0x7f80)) {
      CHECK(isnan(wide_b) && f32_to_bf16(wide_b) == (half | 0x40u), "bf16 NaN %04x", k);
    } else {
      CHECK(f32_to_bf16(wide_b) == half, "bf16 %04x comes back as %04x", k, f32_to_bf16(wide_b));
      CHECK(float_bits(wide_b) == k << 16, "bf16 %04x widens to %a", k, static_cast<double>(wide_b));
      CHECK(f32_to_bf16_stochastic(wide_b, 0xffffffffu) == half,
            "bf16 %04x is exact but moves when rounded stochastically", k);
    }
  }
}

// Patterns spread over all of fp32, with every tie, both neighbours of every tie, and the edges of the ranges.
static std::vector<float> interesting_floats() {
  std::vector<float> all;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 3989)
    all.push_back(bits_float(static_cast<uint32_t>(bits)));
  for (uint32_t k = 0; k < 65536; ++k) {
    const float f16 = f16_to_f32(static_cast<uint16_t>(k));
    for (const uint32_t base : {float_bits(f16), float_bits(f16) + 0x1000u, k << 16, (k << 16) + 0x8000u}) {
      for (uint32_t off = 0; off < 3; ++off) all.push_back(bits_float(base + off - 1));
    }
    if ((k & 0x7c00u) == 0) {  // halfway between fp16 subnormals
      const float tie = static_cast<float>((k & 0x3ffu) + 0.5) * 0x1p-24f;
      for (uint32_t off = 0; off < 3; ++off) all.push_back(bits_float(float_bits(tie) + off - 1));
    }
  }
  while (all.size() % cpu::kGrain != 0) all.push_back(0.0f);
  return all;
}

static void nearest(const std::vector<float>& all) {
  for (const float x : all) {
    if (isnan(x)) {
      CHECK(is_nan16(f32_to_f16(x), 0x7c00) && is_nan16(f32_to_bf16(x), 0x7f80), "NaN %08x became a number",
            float_bits(x));
      continue;
    }
    CHECK(f32_to_f16(x) == nearest_by_search(x, f16_to_f32, 0x7c00), "fp16 of %a", static_cast<double>(x));
    CHECK(f32_to_bf16(x) == nearest_by_search(x, bf16_to_f32, 0x7f80), "bf16 of %a", static_cast<double>(x));
  }
}

// Rounded down and up exactly as often as the distances say: over all values of the low bits the mean is x itself.
static void stochastic_is_unbiased() {
  const float values[] = {1.0f,      1.0000153f, -0.02f, 3.14159274f, 6.1035156e-5f,
                          0.000123f, -65000.0f,  1e-3f,  0.99999994f};
  for (const float x : values) {
    double sum = 0;
    for (uint32_t low = 0; low < 1u << 16; ++low)
      sum += static_cast<double>(bf16_to_f32(f32_to_bf16_stochastic(x, 0xabcd0000u | low)));
    CHECK(sum * 0x1p-16 == static_cast<double>(x), "bf16: mean %a of %a", sum * 0x1p-16, static_cast<double>(x));
    sum = 0;
    for (uint32_t low = 0; low < 1u << 13; ++low)
      sum += static_cast<double>(f16_to_f32(f32_to_f16_stochastic(x, 0xabcd6000u | low)));
    CHECK(sum * 0x1p-13 == static_cast<double>(x), "fp16: mean %a of %a", sum * 0x1p-13, static_cast<double>(x));
  }
  // Below fp16's normal range the random bits have no effect.
  for (uint32_t low = 0; low < 1u << 13; low += 37) {
    CHECK(f32_to_f16_stochastic(1.23e-5f, low) == f32_to_f16(1.23e-5f), "bits %x move a subnormal", low);
  }
  CHECK(f32_to_f16_stochastic(65504.0f, 0x1fff) == 0x7bff, "the largest fp16 is exact");
  CHECK(f32_to_f16_stochastic(65535.0f, 0x1fff) == 0x7c00, "overflow shows as infinity, for prepare to report");
  CHECK(f32_to_bf16_stochastic(3.4028235e38f, 0xffff) == 0x7f80, "overflow shows as infinity, for prepare to report");
}

// Both sets of kernels, through every conversion that prepare uses.
static void kernels_agree(const std::vector<float>& all) {
  const cpu::TileKernels &generic = cpu::tile_kernels(true), &fast = cpu::tile_kernels(false);
  const numerics::NoiseStream stream = numerics::noise_stream(5, 6, numerics::kPurposeRounding, 0);
  uint64_t wrong_narrow = 0, wrong_widen = 0, wrong_update = 0;
  for (size_t at = 0; at < all.size(); at += cpu::kGrain) {
    const uint32_t n = cpu::kGrain;
    uint32_t words[cpu::kGrain];
    generic.rounding_words(stream, at, n, words);
    for (const zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
      const size_t size = n * (dtype == ZO2_F32 ? 4 : 2);
      unsigned char a[cpu::kGrain * 4], b[cpu::kGrain * 4];
      generic.narrow(dtype, &all[at], n, a);
      fast.narrow(dtype, &all[at], n, b);
      wrong_narrow += memcmp(a, b, size) != 0;
      float wide_a[cpu::kGrain], wide_b[cpu::kGrain];
      generic.widen(dtype, a, n, wide_a);
      fast.widen(dtype, a, n, wide_b);
      wrong_widen += memcmp(wide_a, wide_b, sizeof wide_a) != 0;
      for (const bool stochastic : {false, true}) {
        float u[cpu::kGrain] = {};
        float new_a[cpu::kGrain], new_b[cpu::kGrain];
        memcpy(new_a, &all[at], sizeof new_a);
        memcpy(new_b, &all[at], sizeof new_b);
        const bool ok_a = generic.update_end({dtype, stochastic, words}, u, n, 0, n, new_a);
        const bool ok_b = fast.update_end({dtype, stochastic, words}, u, n, 0, n, new_b);
        wrong_update += ok_a != ok_b || memcmp(new_a, new_b, sizeof new_a) != 0;
      }
    }
  }
  CHECK(wrong_narrow == 0, "%llu blocks narrow differently", static_cast<unsigned long long>(wrong_narrow));
  CHECK(wrong_widen == 0, "%llu blocks widen differently", static_cast<unsigned long long>(wrong_widen));
  CHECK(wrong_update == 0, "%llu blocks are updated differently", static_cast<unsigned long long>(wrong_update));
  // All 2^16 patterns, signalling NaN included.
  std::vector<uint16_t> halves(65536);
  for (uint32_t k = 0; k < 65536; ++k) halves[k] = static_cast<uint16_t>(k);
  for (const zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    std::vector<float> a(65536), b(65536);
    generic.widen(dtype, halves.data(), 65536, a.data());
    fast.widen(dtype, halves.data(), 65536, b.data());
    CHECK(memcmp(a.data(), b.data(), a.size() * 4) == 0, "widening all patterns of dtype %d", dtype);
  }
}

int main() {
  const std::vector<float> all = interesting_floats();
  all_half_patterns();
  nearest(all);
  stochastic_is_unbiased();
  kernels_agree(all);
  return test::report();
}
