// Eight fp32 lanes, in two flavours: AVX2 + FMA + F16C intrinsics, and a portable one of compiler vectors (SSE2, NEON,
// ...).
//
// The file that includes this header first defines ZO2_ISA (avx2 or generic), the namespace that everything compiled
// with it lives in: the same kernel source is compiled once for each flavour, and code for a newer instruction set
// never gets the name of code that runs on an older CPU. For the same reason kernel sources use no templates of the
// standard library.
//
// The flavours need not agree to the last bit: the generic one multiplies and adds in two roundings.
#pragma once

#ifndef ZO2_ISA
#error "define ZO2_ISA as avx2 or generic before including simd.h"
#endif

#include <stdint.h>
#include <string.h>

#include "numerics/rounding.h"

#define ZO2_ISA_IS_avx2 1
#define ZO2_ISA_JOIN(a, b) a##b
#define ZO2_ISA_TEST(isa) ZO2_ISA_JOIN(ZO2_ISA_IS_, isa)
#if ZO2_ISA_TEST(ZO2_ISA)
#define ZO2_SIMD_AVX2 1
#include <immintrin.h>
#else
#define ZO2_SIMD_AVX2 0
#endif

#define ZO2_INLINE static inline __attribute__((always_inline))

namespace zo2::cpu::ZO2_ISA {

constexpr int64_t kLanes = 8;

#if ZO2_SIMD_AVX2

struct Vec {
  __m256 v;
};

ZO2_INLINE Vec splat(float x) { return {_mm256_set1_ps(x)}; }
ZO2_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
ZO2_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
ZO2_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
ZO2_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
ZO2_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
ZO2_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
// a b + c
ZO2_INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// The larger one; `b` where either is NaN.
ZO2_INLINE Vec maximum(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
ZO2_INLINE Vec minimum(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
// x < limit ? a : b, lane by lane.
ZO2_INLINE Vec where_less(Vec x, Vec limit, Vec a, Vec b) {
  return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, limit.v, _CMP_LT_OQ))};
}
ZO2_INLINE Vec magnitude(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
ZO2_INLINE Vec nearest_integer(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for integral n in [-126, 127].
ZO2_INLINE Vec power_of_two(Vec n) {
  return {
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23))};
}

ZO2_INLINE Vec load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
ZO2_INLINE void store_f16(uint16_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
ZO2_INLINE Vec load_bf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}
ZO2_INLINE void store_bf16(uint16_t* p, Vec a) {
  const __m256i bits = _mm256_castps_si256(a.v), high = _mm256_srli_epi32(bits, 16);
  const __m256i bias = _mm256_add_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, bias), 16);
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i chosen = _mm256_blendv_epi8(rounded, quiet, nan);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(chosen, chosen), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}

// rows[r] holds lane c of column c of row r; afterwards rows[c] holds what was column c.
ZO2_INLINE void transpose(Vec rows[8]) {
  __m256 pair[8], quad[8];
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
    pair[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    rows[i].v = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20);
    rows[i + 4].v = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31);
  }
}

#else  // portable

typedef float Half __attribute__((vector_size(16)));
typedef int32_t HalfMask __attribute__((vector_size(16)));

struct Vec {
  Half low, high;
};

ZO2_INLINE Half half_splat(float x) { return Half{x, x, x, x}; }
ZO2_INLINE Half half_select(HalfMask mask, Half a, Half b) {
  return reinterpret_cast<Half>((mask & reinterpret_cast<HalfMask>(a)) | (~mask & reinterpret_cast<HalfMask>(b)));
}

ZO2_INLINE Vec splat(float x) { return {half_splat(x), half_splat(x)}; }
ZO2_INLINE Vec load(const float* p) {
  Vec a;
  memcpy(&a, p, sizeof a);
  return a;
}
ZO2_INLINE void store(float* p, Vec a) { memcpy(p, &a, sizeof a); }
ZO2_INLINE Vec operator+(Vec a, Vec b) { return {a.low + b.low, a.high + b.high}; }
ZO2_INLINE Vec operator-(Vec a, Vec b) { return {a.low - b.low, a.high - b.high}; }
ZO2_INLINE Vec operator*(Vec a, Vec b) { return {a.low * b.low, a.high * b.high}; }
ZO2_INLINE Vec operator/(Vec a, Vec b) { return {a.low / b.low, a.high / b.high}; }
ZO2_INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }
ZO2_INLINE Vec maximum(Vec a, Vec b) {
  return {half_select(a.low > b.low, a.low, b.low), half_select(a.high > b.high, a.high, b.high)};
}
ZO2_INLINE Vec minimum(Vec a, Vec b) {
  return {half_select(a.low < b.low, a.low, b.low), half_select(a.high < b.high, a.high, b.high)};
}
ZO2_INLINE Vec where_less(Vec x, Vec limit, Vec a, Vec b) {
  return {half_select(x.low < limit.low, a.low, b.low), half_select(x.high < limit.high, a.high, b.high)};
}
ZO2_INLINE Vec magnitude(Vec a) {
  const HalfMask keep = {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff};
  return {reinterpret_cast<Half>(reinterpret_cast<HalfMask>(a.low) & keep),
          reinterpret_cast<Half>(reinterpret_cast<HalfMask>(a.high) & keep)};
}
// For magnitudes below 2^22: beyond 1.5 2^23 the spacing of fp32 is 1, so the addition rounds to nearest even.
ZO2_INLINE Vec nearest_integer(Vec a) { return (a + splat(0x1.8p23f)) - splat(0x1.8p23f); }
// 2^n for integral n in [-126, 127]: the low bits of 1.5 2^23 + 127 + n are the exponent field.
ZO2_INLINE Vec power_of_two(Vec n) {
  const Vec biased = n + splat(0x1.8p23f + 127.0f);
  return {reinterpret_cast<Half>(reinterpret_cast<HalfMask>(biased.low) << 23),
          reinterpret_cast<Half>(reinterpret_cast<HalfMask>(biased.high) << 23)};
}

ZO2_INLINE Vec load_f16(const uint16_t* p) {
  float t[8];
  for (int i = 0; i < 8; i++) t[i] = numerics::f16_to_f32(p[i]);
  return load(t);
}
ZO2_INLINE void store_f16(uint16_t* p, Vec a) {
  float t[8];
  store(t, a);
  for (int i = 0; i < 8; i++) p[i] = numerics::f32_to_f16(t[i]);
}
ZO2_INLINE Vec load_bf16(const uint16_t* p) {
  float t[8];
  for (int i = 0; i < 8; i++) t[i] = numerics::bf16_to_f32(p[i]);
  return load(t);
}
ZO2_INLINE void store_bf16(uint16_t* p, Vec a) {
  float t[8];
  store(t, a);
  for (int i = 0; i < 8; i++) p[i] = numerics::f32_to_bf16(t[i]);
}

ZO2_INLINE void transpose(Vec rows[8]) {
  float in[8][8], out[8][8];
  for (int r = 0; r < 8; r++) store(in[r], rows[r]);
  for (int r = 0; r < 8; r++) {
    for (int c = 0; c < 8; c++) out[c][r] = in[r][c];
  }
  for (int r = 0; r < 8; r++) rows[r] = load(out[r]);
}

#endif

// The first `count` (< 8) lanes; the others are `rest`, and nothing beyond `count` is read or written.
ZO2_INLINE Vec load_part(const float* p, int64_t count, float rest) {
  float t[8];
  for (int64_t i = 0; i < 8; i++) t[i] = i < count ? p[i] : rest;
  return load(t);
}
ZO2_INLINE void store_part(float* p, Vec a, int64_t count) {
  float t[8];
  store(t, a);
  for (int64_t i = 0; i < count; i++) p[i] = t[i];
}

// The lanes' sum and maximum, always in the same order.
ZO2_INLINE float lanes_sum(Vec a) {
  float t[8];
  store(t, a);
  return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}
ZO2_INLINE float lanes_maximum(Vec a) {
  float t[8];
  store(t, a);
  float m = t[0];
  for (int i = 1; i < 8; i++) m = t[i] > m ? t[i] : m;
  return m;
}

}  // namespace zo2::cpu::ZO2_ISA
