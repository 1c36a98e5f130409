// Tile kernels for CPUs with AVX2, FMA and F16C: the only file compiled with -mavx2 -mfma -mf16c. Nothing here may run
// before tile_kernels() has asked the CPU, and nothing here may be an inline function that another file also has
// (numerics/ops.h).
#include "cpu/ops/tile.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>
#include <string.h>

#include "numerics/blocks.h"
#include "numerics/gaussian.h"
#include "numerics/rounding.h"

namespace zo2::cpu {
namespace {

using numerics::NoiseStream;

#define ZO2_INLINE static inline __attribute__((always_inline))

// numerics::ScalarOps, eight at a time.
struct VectorOps {
  using F = __m256;
  using I = __m256i;
  ZO2_INLINE F splat(float x) { return _mm256_set1_ps(x); }
  ZO2_INLINE I splat_bits(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  ZO2_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  ZO2_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  ZO2_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  ZO2_INLINE F sqrt(F a) { return _mm256_sqrt_ps(a); }
  ZO2_INLINE I bits(F a) { return _mm256_castps_si256(a); }
  ZO2_INLINE F from_bits(I a) { return _mm256_castsi256_ps(a); }
  ZO2_INLINE F from_signed(I a) { return _mm256_cvtepi32_ps(a); }
  ZO2_INLINE I add_bits(I a, I b) { return _mm256_add_epi32(a, b); }
  ZO2_INLINE I sub_bits(I a, I b) { return _mm256_sub_epi32(a, b); }
  ZO2_INLINE I and_bits(I a, I b) { return _mm256_and_si256(a, b); }
  ZO2_INLINE I xor_bits(I a, I b) { return _mm256_xor_si256(a, b); }
  template <int N>
  ZO2_INLINE I shift_left(I a) {
    return _mm256_slli_epi32(a, N);
  }
  template <int N>
  ZO2_INLINE I shift_right(I a) {
    return _mm256_srli_epi32(a, N);
  }
  template <int N>
  ZO2_INLINE I shift_right_signed(I a) {
    return _mm256_srai_epi32(a, N);
  }
};

// ---- Philox ---------------------------------------------------------------------------------------------------------

struct RoundKeys {
  uint32_t low[numerics::kPhiloxRounds];
  uint32_t high[numerics::kPhiloxRounds];
};

ZO2_INLINE RoundKeys round_keys(uint64_t seed) {
  RoundKeys keys;
  uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < numerics::kPhiloxRounds; ++round) {
    keys.low[round] = low;
    keys.high[round] = high;
    low += numerics::kPhiloxKeyStep0;
    high += numerics::kPhiloxKeyStep1;
  }
  return keys;
}

// Four counters, one in the low half of each 64-bit lane. The 32x32 product leaves its high and low word where the next
// round wants them; what gathers in the upper halves is never read. x02 holds word 0 below and word 2 above, x13
// likewise words 1 and 3.
ZO2_INLINE void philox4(const RoundKeys& keys, __m256i q, __m256i step, __m256i tag, __m256i& x02, __m256i& x13) {
  const __m256i multiplier0 = _mm256_set1_epi64x(numerics::kPhiloxMultiplier0);
  const __m256i multiplier1 = _mm256_set1_epi64x(numerics::kPhiloxMultiplier1);
  __m256i c0 = q, c1 = _mm256_srli_epi64(q, 32), c2 = step, c3 = tag;
#pragma GCC unroll 10
  for (int round = 0; round < numerics::kPhiloxRounds; ++round) {
    const __m256i product0 = _mm256_mul_epu32(c0, multiplier0), product1 = _mm256_mul_epu32(c2, multiplier1);
    const __m256i key0 = _mm256_set1_epi32(static_cast<int>(keys.low[round]));
    const __m256i key1 = _mm256_set1_epi32(static_cast<int>(keys.high[round]));
    c0 = _mm256_xor_si256(_mm256_srli_epi64(product1, 32), _mm256_xor_si256(c1, key0));
    c2 = _mm256_xor_si256(_mm256_srli_epi64(product0, 32), _mm256_xor_si256(c3, key1));
    c1 = product1;
    c3 = product0;
  }
  x02 = _mm256_blend_epi32(c0, _mm256_slli_epi64(c2, 32), 0xAA);
  x13 = _mm256_blend_epi32(c1, _mm256_slli_epi64(c3, 32), 0xAA);
}

// Positions q .. q+3 in the order 0, 2, 1, 3: interleaving the 32-bit lanes of x02 and x13 then gives the words of
// positions 0 and 1 (low) and of 2 and 3 (high), each in order.
ZO2_INLINE __m256i four_positions(uint64_t q) {
  return _mm256_add_epi64(_mm256_set1_epi64x(static_cast<long long>(q)), _mm256_setr_epi64x(0, 2, 1, 3));
}

// The words of n / 4 positions; for every 16 words two vectors, x02 and x13 of four positions.
ZO2_INLINE void paired_words(const NoiseStream& stream, uint64_t q, uint32_t n, __m256i* pairs) {
  const RoundKeys keys = round_keys(stream.seed);
  const __m256i step = _mm256_set1_epi64x(stream.step), tag = _mm256_set1_epi64x(stream.tag);
  for (uint32_t i = 0; i < n / 8; i += 4) {
    philox4(keys, four_positions(q + 2 * i), step, tag, pairs[i], pairs[i + 1]);
    philox4(keys, four_positions(q + 2 * i + 4), step, tag, pairs[i + 2], pairs[i + 3]);
  }
}

void gaussian(const NoiseStream& stream, uint64_t first, uint32_t n, float* z) {
  // Words first, normals second: two loops whose iterations are independent keep the out-of-order window fuller than
  // one that alternates between the integer and the floating point part.
  __m256i pairs[kTile / 8];
  paired_words(stream, first >> 2, n, pairs);
  for (uint32_t i = 0; i < n / 8; i += 2) {
    __m256 cosine, sine;
    numerics::gaussian_pair<VectorOps>(pairs[i], pairs[i + 1], cosine, sine);
    _mm256_storeu_ps(z + 8 * i, _mm256_unpacklo_ps(cosine, sine));
    _mm256_storeu_ps(z + 8 * i + 8, _mm256_unpackhi_ps(cosine, sine));
  }
}

void rounding_words(const NoiseStream& stream, uint64_t first, uint32_t n, uint32_t* words) {
  __m256i pairs[kTile / 8];
  paired_words(stream, first >> 2, n, pairs);
  for (uint32_t i = 0; i < n / 8; i += 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + 8 * i), _mm256_unpacklo_epi32(pairs[i], pairs[i + 1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + 8 * i + 8), _mm256_unpackhi_epi32(pairs[i], pairs[i + 1]));
  }
}

void rademacher(const NoiseStream& stream, uint64_t first, uint32_t n, float* z) {
  const RoundKeys keys = round_keys(stream.seed);
  __m256i x02, x13;
  philox4(keys, four_positions(first >> 7), _mm256_set1_epi64x(stream.step), _mm256_set1_epi64x(stream.tag), x02, x13);
  alignas(32) uint32_t words[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_unpacklo_epi32(x02, x13));
  _mm256_store_si256(reinterpret_cast<__m256i*>(words + 8), _mm256_unpackhi_epi32(x02, x13));
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u)), one = _mm256_set1_epi32(0x3f800000);
  // Bit k of the word reaches the sign bit by a shift of 31 - k.
  const __m256i lane = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  for (uint32_t i = 0; i < n / 32; ++i) {
    const __m256i word = _mm256_set1_epi32(static_cast<int>(words[i]));
    for (int k = 0; k < 4; ++k) {
      const __m256i shifted = _mm256_sllv_epi32(word, _mm256_sub_epi32(lane, _mm256_set1_epi32(8 * k)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(z + 32 * i + 8 * static_cast<uint32_t>(k)),
                          _mm256_or_si256(_mm256_and_si256(shifted, sign), one));
    }
  }
}

// ---- dtypes ---------------------------------------------------------------------------------------------------------

ZO2_INLINE __m256i compare_above(__m256i magnitude, uint32_t limit) {  // both below 2^31
  return _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(static_cast<int>(limit)));
}

ZO2_INLINE __m256i magnitude_of(__m256i bits) { return _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)); }

// fp32 patterns whose low 16 bits are zero: x rounded to bf16.
ZO2_INLINE __m256i round_bf16(__m256i bits) {
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = compare_above(magnitude_of(bits), numerics::kF32Infinity);
  return _mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, nan), _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
}

// The upper halves of 16 lanes as 16 bf16 values.
ZO2_INLINE __m128i pack_upper_halves(__m256i bits) {
  const __m256i halves = _mm256_srli_epi32(bits, 16);
  const __m256i packed = _mm256_packus_epi32(halves, halves);
  return _mm_unpacklo_epi64(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1));
}

ZO2_INLINE __m256 load_f16(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

ZO2_INLINE __m256 load_bf16(const uint16_t* from) {
  const __m256i bits =
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16);
  const __m256i nan = compare_above(magnitude_of(bits), numerics::kF32Infinity);
  return _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_and_si256(nan, _mm256_set1_epi32(0x400000))));
}

ZO2_INLINE void store_f16(uint16_t* to, __m256 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

ZO2_INLINE void store_bf16(uint16_t* to, __m256 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), pack_upper_halves(round_bf16(_mm256_castps_si256(x))));
}

void widen(zo2_dtype dtype, const void* from, uint32_t n, float* to) {
  const uint16_t* half = static_cast<const uint16_t*>(from);
  switch (dtype) {
    case ZO2_F16:
      for (uint32_t i = 0; i < n; i += 8) _mm256_storeu_ps(to + i, load_f16(half + i));
      break;
    case ZO2_BF16:
      for (uint32_t i = 0; i < n; i += 8) _mm256_storeu_ps(to + i, load_bf16(half + i));
      break;
    default:
      memcpy(to, from, n * sizeof(float));
  }
}

void narrow(zo2_dtype dtype, const float* from, uint32_t n, void* to) {
  uint16_t* half = static_cast<uint16_t*>(to);
  switch (dtype) {
    case ZO2_F16:
      for (uint32_t i = 0; i < n; i += 8) store_f16(half + i, _mm256_loadu_ps(from + i));
      break;
    case ZO2_BF16:
      for (uint32_t i = 0; i < n; i += 8) store_bf16(half + i, _mm256_loadu_ps(from + i));
      break;
    default:
      memcpy(to, from, n * sizeof(float));
  }
}

// ---- update and perturbation ----------------------------------------------------------------------------------------

void update_begin(float b, const float* w, uint32_t n, float* u) {
  const __m256 factor = _mm256_set1_ps(b);
  for (uint32_t i = 0; i < n; i += 8) _mm256_storeu_ps(u + i, _mm256_mul_ps(factor, _mm256_loadu_ps(w + i)));
}

void update_add(float a, const float* z, uint32_t n, float* u) {
  const __m256 factor = _mm256_set1_ps(a);
  for (uint32_t i = 0; i < n; i += 8) {
    _mm256_storeu_ps(u + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(z + i), _mm256_loadu_ps(u + i)));
  }
}

struct RoundF32 {
  ZO2_INLINE __m256 apply(__m256 x, const uint32_t*) { return x; }
};
struct RoundF16 {
  ZO2_INLINE __m256 apply(__m256 x, const uint32_t*) {
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};
struct RoundBf16 {
  ZO2_INLINE __m256 apply(__m256 x, const uint32_t*) { return _mm256_castsi256_ps(round_bf16(_mm256_castps_si256(x))); }
};
ZO2_INLINE __m256i random_low_bits(const uint32_t* words, int mask) {
  return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)), _mm256_set1_epi32(mask));
}
struct RoundF16Stochastic {
  ZO2_INLINE __m256 apply(__m256 x, const uint32_t* words) {
    const __m256i bits = _mm256_castps_si256(x), magnitude = magnitude_of(bits);
    const __m256i truncated = _mm256_and_si256(_mm256_add_epi32(bits, random_low_bits(words, 0x1fff)),
                                               _mm256_set1_epi32(static_cast<int>(0xffffe000u)));
    // Whatever starts or ends beyond fp16, NaN included, becomes infinity: prepare keeps the old weight there.
    const __m256i beyond = _mm256_or_si256(compare_above(magnitude_of(truncated), numerics::kF16Beyond - 1),
                                           compare_above(magnitude, numerics::kF16Beyond - 1));
    const __m256i stepped =
        _mm256_blendv_epi8(truncated, _mm256_set1_epi32(static_cast<int>(numerics::kF32Infinity)), beyond);
    const __m256i small =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(numerics::kF16SmallestNormal)), magnitude);
    return _mm256_blendv_ps(_mm256_castsi256_ps(stepped), RoundF16::apply(x, words), _mm256_castsi256_ps(small));
  }
};
struct RoundBf16Stochastic {
  ZO2_INLINE __m256 apply(__m256 x, const uint32_t* words) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i truncated = _mm256_and_si256(_mm256_add_epi32(bits, random_low_bits(words, 0xffff)),
                                               _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
    const __m256i not_finite = compare_above(magnitude_of(bits), numerics::kF32Infinity - 1);
    return _mm256_blendv_ps(_mm256_castsi256_ps(truncated), x, _mm256_castsi256_ps(not_finite));
  }
};

// Stores round(w - u) where it is finite. False when it is not for one of the elements [begin, end) of the tile.
template <class Round>
ZO2_INLINE bool replace(const uint32_t* words, __m256 old, __m256 u, uint32_t i, uint32_t begin, uint32_t end,
                        float* w) {
  const __m256 updated = Round::apply(_mm256_sub_ps(old, u), words ? words + i : nullptr);
  const __m256 kept =
      _mm256_castsi256_ps(compare_above(magnitude_of(_mm256_castps_si256(updated)), numerics::kF32Infinity - 1));
  _mm256_storeu_ps(w + i, _mm256_blendv_ps(updated, old, kept));
  const int lanes = _mm256_movemask_ps(kept);
  if (__builtin_expect(lanes != 0, 0)) {
    for (uint32_t k = 0; k < 8; ++k) {
      if ((lanes >> k & 1) != 0 && i + k >= begin && i + k < end) return false;
    }
  }
  return true;
}

struct UpdateEnd {
  const float* u;
  ZO2_INLINE __m256 update(const UpdateEnd& self, uint32_t i, __m256) { return _mm256_loadu_ps(self.u + i); }
};
struct UpdateOnce {
  __m256 a;
  __m256 b;
  const float* z;
  ZO2_INLINE __m256 update(const UpdateOnce& self, uint32_t i, __m256 w) {
    return _mm256_fmadd_ps(self.a, _mm256_loadu_ps(self.z + i), _mm256_mul_ps(self.b, w));
  }
};

template <class Round, class Update>
ZO2_INLINE bool replace_all(const uint32_t* words, const Update& update, uint32_t n, uint32_t begin, uint32_t end,
                            float* w) {
  bool all_finite = true;
  for (uint32_t i = 0; i < n; i += 8) {
    const __m256 old = _mm256_loadu_ps(w + i);
    all_finite &= replace<Round>(words, old, Update::update(update, i, old), i, begin, end, w);
  }
  return all_finite;
}

template <class Update>
ZO2_INLINE bool replace_dispatch(const TileRounding& rounding, const Update& update, uint32_t n, uint32_t begin,
                                 uint32_t end, float* w) {
  const uint32_t* words = rounding.stochastic ? rounding.words : nullptr;
  switch (rounding.dtype) {
    case ZO2_F16:
      return words ? replace_all<RoundF16Stochastic>(words, update, n, begin, end, w)
                   : replace_all<RoundF16>(words, update, n, begin, end, w);
    case ZO2_BF16:
      return words ? replace_all<RoundBf16Stochastic>(words, update, n, begin, end, w)
                   : replace_all<RoundBf16>(words, update, n, begin, end, w);
    default:
      return replace_all<RoundF32>(nullptr, update, n, begin, end, w);
  }
}

bool update_end(const TileRounding& rounding, const float* u, uint32_t n, uint32_t begin, uint32_t end, float* w) {
  return replace_dispatch(rounding, UpdateEnd{u}, n, begin, end, w);
}

bool update_once(const TileRounding& rounding, float a, float b, const float* z, uint32_t n, uint32_t begin,
                 uint32_t end, float* w) {
  return replace_dispatch(rounding, UpdateOnce{_mm256_set1_ps(a), _mm256_set1_ps(b), z}, n, begin, end, w);
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

// numerics::Int8 and numerics::E4m3, eight at a time.
struct VectorInt8 {
  using Scalar = numerics::Int8;
  ZO2_INLINE __m256i binade(__m256) { return _mm256_setzero_si256(); }
  ZO2_INLINE __m256 steps_per_scale(__m256i) { return _mm256_set1_ps(1.0f); }
  ZO2_INLINE __m256 step(uint32_t scale, __m256i) {
    return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(scale << 23)));
  }
  ZO2_INLINE __m256i byte(__m256i, __m256i signed_steps) {
    return _mm256_and_si256(signed_steps, _mm256_set1_epi32(0xff));
  }
  ZO2_INLINE __m256 value(__m128i q, uint32_t scale) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), step(scale, _mm256_setzero_si256()));
  }
};
struct VectorE4m3 {
  using Scalar = numerics::E4m3;
  ZO2_INLINE __m256i binade(__m256 magnitude) {
    const __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(magnitude), 23);
    return _mm256_max_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(121)), _mm256_setzero_si256());
  }
  ZO2_INLINE __m256 steps_per_scale(__m256i t) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_sub_epi32(_mm256_set1_epi32(136), t), 23));
  }
  ZO2_INLINE __m256 step(uint32_t scale, __m256i t) {
    const __m256i least = _mm256_set1_epi32(static_cast<int>((scale > 9 ? scale : 9) - 9));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(least, t), 23));
  }
  ZO2_INLINE __m256i byte(__m256i t, __m256i signed_steps) {
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(signed_steps, 24), _mm256_set1_epi32(0x80));
    return _mm256_or_si256(_mm256_add_epi32(_mm256_slli_epi32(t, 3), _mm256_abs_epi32(signed_steps)), sign);
  }
  ZO2_INLINE __m256 value(__m128i q, uint32_t scale) {
    const __m256i bytes = _mm256_cvtepu8_epi32(q), magnitude = _mm256_and_si256(bytes, _mm256_set1_epi32(0x7f));
    const __m256i field = _mm256_srli_epi32(magnitude, 3);
    const __m256i t = _mm256_max_epi32(_mm256_sub_epi32(field, _mm256_set1_epi32(1)), _mm256_setzero_si256());
    const __m256i steps = _mm256_sub_epi32(magnitude, _mm256_slli_epi32(t, 3));
    // A copy of the byte's sign: 1 or -1, never 0.
    const __m256i sign = _mm256_or_si256(_mm256_cvtepi8_epi32(q), _mm256_set1_epi32(1));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sign_epi32(steps, sign)), step(scale, t));
  }
};

template <class Format>
ZO2_INLINE void widen_block_as(const uint8_t* q, uint8_t scale, float* w) {
  for (uint32_t i = 0; i < numerics::kBlock; i += 8)
    _mm256_storeu_ps(w + i, Format::value(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q + i)), scale));
}

void widen_block(zo2_dtype dtype, const uint8_t* q, uint8_t scale, float* w) {
  if (dtype == ZO2_I8) return widen_block_as<VectorInt8>(q, scale, w);
  widen_block_as<VectorE4m3>(q, scale, w);
}

ZO2_INLINE uint32_t largest_lane(__m256i a) {  // of numbers below 2^31
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(m));
}

ZO2_INLINE __m256i steps_nearest(__m256 steps) {
  return _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(steps, _mm256_set1_ps(0x1p23f))),
                          _mm256_set1_epi32(0x4b000000));
}

ZO2_INLINE __m256i steps_stochastic(__m256 steps, const uint32_t* words) {
  const __m256i whole = _mm256_cvttps_epi32(steps);
  const __m256 rest = _mm256_sub_ps(steps, _mm256_cvtepi32_ps(whole));
  const __m256i chance = _mm256_cvttps_epi32(_mm256_mul_ps(rest, _mm256_set1_ps(0x1p31f)));
  const __m256i draw = _mm256_srli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)), 1);
  return _mm256_sub_epi32(whole, _mm256_cmpgt_epi32(chance, draw));
}

// The low bytes of eight lanes, each below 256.
ZO2_INLINE void store_bytes(uint8_t* to, __m256i lanes) {
  const __m256i halves = _mm256_packus_epi32(lanes, lanes), bytes = _mm256_packus_epi16(halves, halves);
  const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), both);
}

template <class Format, bool kStochastic>
ZO2_INLINE bool replace_block_as(const uint32_t* words, const float* u, float* w, uint8_t* q, uint8_t* scale) {
  using Scalar = typename Format::Scalar;
  const __m256i limit = _mm256_set1_epi32(static_cast<int>(numerics::float_bits(Scalar::kLimit)));
  __m256i largest = _mm256_setzero_si256(), stayed = _mm256_setzero_si256();
  for (uint32_t i = 0; i < numerics::kBlock; i += 8) {
    const __m256 old = _mm256_loadu_ps(w + i), next = _mm256_sub_ps(old, _mm256_loadu_ps(u + i));
    const __m256i beyond = _mm256_cmpgt_epi32(magnitude_of(_mm256_castps_si256(next)), limit);
    const __m256 kept = _mm256_blendv_ps(next, old, _mm256_castsi256_ps(beyond));
    stayed = _mm256_or_si256(stayed, beyond);
    largest = _mm256_max_epi32(largest, magnitude_of(_mm256_castps_si256(kept)));
    _mm256_storeu_ps(w + i, kept);
  }
  const uint32_t exponent = numerics::block_scale<Scalar>(numerics::bits_float(largest_lane(largest)));
  *scale = static_cast<uint8_t>(exponent);
  const __m256 per_unit = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>((254u - exponent) << 23)));
  for (uint32_t i = 0; i < numerics::kBlock; i += 8) {
    const __m256 x = _mm256_loadu_ps(w + i);
    const __m256 magnitude = _mm256_mul_ps(_mm256_castsi256_ps(magnitude_of(_mm256_castps_si256(x))), per_unit);
    const __m256i t = Format::binade(magnitude);
    const __m256 steps = _mm256_mul_ps(magnitude, Format::steps_per_scale(t));
    const __m256i whole = kStochastic ? steps_stochastic(steps, words + i) : steps_nearest(steps);
    const __m256i sign = _mm256_or_si256(_mm256_castps_si256(x), _mm256_set1_epi32(1));
    const __m256i signed_steps = _mm256_sign_epi32(whole, sign);
    _mm256_storeu_ps(w + i, _mm256_mul_ps(_mm256_cvtepi32_ps(signed_steps), Format::step(exponent, t)));
    store_bytes(q + i, Format::byte(t, signed_steps));
  }
  return _mm256_testz_si256(stayed, stayed) != 0;
}

template <class Format>
ZO2_INLINE bool replace_block_in(const BlockRounding& rounding, const float* u, float* w, uint8_t* q, uint8_t* scale) {
  return rounding.stochastic ? replace_block_as<Format, true>(rounding.words, u, w, q, scale)
                             : replace_block_as<Format, false>(nullptr, u, w, q, scale);
}

bool replace_block(const BlockRounding& rounding, const float* u, float* w, uint8_t* q, uint8_t* scale) {
  return rounding.dtype == ZO2_I8 ? replace_block_in<VectorInt8>(rounding, u, w, q, scale)
                                  : replace_block_in<VectorE4m3>(rounding, u, w, q, scale);
}

// ---- sides ----------------------------------------------------------------------------------------------------------

ZO2_INLINE void store_as_f32(void* to, uint32_t i, __m256 x) { _mm256_storeu_ps(static_cast<float*>(to) + i, x); }
ZO2_INLINE void store_as_f16(void* to, uint32_t i, __m256 x) { store_f16(static_cast<uint16_t*>(to) + i, x); }
ZO2_INLINE void store_as_bf16(void* to, uint32_t i, __m256 x) { store_bf16(static_cast<uint16_t*>(to) + i, x); }

template <void (*Store)(void*, uint32_t, __m256)>
ZO2_INLINE void perturb_as(const TileSide* sides, uint32_t side_count, const float* z, const float* w, uint32_t n) {
  void* const to = sides[0].to;
  const __m256 eps = _mm256_set1_ps(sides[0].eps);
  if (side_count == 1) {
    for (uint32_t i = 0; i < n; i += 8)
      Store(to, i, _mm256_fmadd_ps(eps, _mm256_loadu_ps(z + i), _mm256_loadu_ps(w + i)));
    return;
  }
  void* const other_to = sides[1].to;
  const __m256 other_eps = _mm256_set1_ps(sides[1].eps);
  for (uint32_t i = 0; i < n; i += 8) {
    const __m256 noise = _mm256_loadu_ps(z + i), weight = _mm256_loadu_ps(w + i);
    Store(to, i, _mm256_fmadd_ps(eps, noise, weight));
    Store(other_to, i, _mm256_fmadd_ps(other_eps, noise, weight));
  }
}

void perturb(zo2_dtype dtype, const TileSide* sides, uint32_t side_count, const float* z, const float* w, uint32_t n) {
  switch (dtype) {
    case ZO2_F16:
      perturb_as<store_as_f16>(sides, side_count, z, w, n);
      break;
    case ZO2_BF16:
      perturb_as<store_as_bf16>(sides, side_count, z, w, n);
      break;
    default:
      perturb_as<store_as_f32>(sides, side_count, z, w, n);
  }
}

#undef ZO2_INLINE

}  // namespace

const TileKernels* avx2_tile_kernels() {
  static const TileKernels kernels = {"avx2",      gaussian,      rademacher, rounding_words, widen,
                                      narrow,      update_begin,  update_add, update_end,     update_once,
                                      widen_block, replace_block, perturb};
  return &kernels;
}

}  // namespace zo2::cpu

#else

namespace zo2::cpu {
const TileKernels* avx2_tile_kernels() { return nullptr; }
}  // namespace zo2::cpu

#endif
