// The single fp32 and fp64 operations that everything in numerics/ is written with, on the host and on the device.
//
// Rule of this folder: one named operation per rounding. Host sources are compiled with -ffp-contract=off and without
// fast-math; on the device each operation is an intrinsic that the compiler may not contract. So the same inputs give
// the same bits on both.
//
// Everything here has internal linkage: a file compiled for a newer instruction set must never donate its copy of a
// function to one that runs on an older CPU.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "numerics/soft_fma.h"

#if defined(__FAST_MATH__)
#error "numerics/ needs IEEE arithmetic: build without -ffast-math"
#endif

#if defined(__CUDACC__)
#define ZO2_HD __host__ __device__
#else
#define ZO2_HD
#endif

namespace zo2::numerics {

ZO2_HD static inline uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

ZO2_HD static inline float bits_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

#if defined(__CUDA_ARCH__)

__device__ static inline float f32_add(float a, float b) { return __fadd_rn(a, b); }
__device__ static inline float f32_sub(float a, float b) { return __fsub_rn(a, b); }
__device__ static inline float f32_mul(float a, float b) { return __fmul_rn(a, b); }
__device__ static inline float f32_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ static inline float f32_sqrt(float a) { return __fsqrt_rn(a); }
__device__ static inline float f32_from_i32(int32_t a) { return __int2float_rn(a); }
__device__ static inline double f64_mul(double a, double b) { return __dmul_rn(a, b); }
__device__ static inline double f64_add(double a, double b) { return __dadd_rn(a, b); }
__device__ static inline double f64_sub(double a, double b) { return __dsub_rn(a, b); }
__device__ static inline double f64_div(double a, double b) { return __ddiv_rn(a, b); }
__device__ static inline double f64_sqrt(double a) { return __dsqrt_rn(a); }
__device__ static inline float f32_from_f64(double a) { return __double2float_rn(a); }

#else

ZO2_HD static inline float f32_add(float a, float b) { return a + b; }
ZO2_HD static inline float f32_sub(float a, float b) { return a - b; }
ZO2_HD static inline float f32_mul(float a, float b) { return a * b; }
ZO2_HD static inline float f32_fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return fmaf(a, b, c);
#else
  return soft_fma(a, b, c);
#endif
}
ZO2_HD static inline float f32_sqrt(float a) { return sqrtf(a); }
ZO2_HD static inline float f32_from_i32(int32_t a) { return static_cast<float>(a); }
ZO2_HD static inline double f64_mul(double a, double b) { return a * b; }
ZO2_HD static inline double f64_add(double a, double b) { return a + b; }
ZO2_HD static inline double f64_sub(double a, double b) { return a - b; }
ZO2_HD static inline double f64_div(double a, double b) { return a / b; }
ZO2_HD static inline double f64_sqrt(double a) { return sqrt(a); }
ZO2_HD static inline float f32_from_f64(double a) { return static_cast<float>(a); }

#endif

ZO2_HD static inline bool f32_is_finite(float x) { return (float_bits(x) & 0x7f800000u) != 0x7f800000u; }

// The operations as a type, for sequences that are written once and run on one value or on a vector of them
// (cpu/ops/tile_avx2.cc has the vector counterpart). F is fp32; I is 32 integer bits, signed only where an operation
// says so.
namespace {
struct ScalarOps {
  using F = float;
  using I = uint32_t;
  ZO2_HD static F splat(float x) { return x; }
  ZO2_HD static I splat_bits(uint32_t x) { return x; }
  ZO2_HD static F sub(F a, F b) { return f32_sub(a, b); }
  ZO2_HD static F mul(F a, F b) { return f32_mul(a, b); }
  ZO2_HD static F fma(F a, F b, F c) { return f32_fma(a, b, c); }
  ZO2_HD static F sqrt(F a) { return f32_sqrt(a); }
  ZO2_HD static I bits(F a) { return float_bits(a); }
  ZO2_HD static F from_bits(I a) { return bits_float(a); }
  ZO2_HD static F from_signed(I a) { return f32_from_i32(static_cast<int32_t>(a)); }
  ZO2_HD static I add_bits(I a, I b) { return a + b; }
  ZO2_HD static I sub_bits(I a, I b) { return a - b; }
  ZO2_HD static I and_bits(I a, I b) { return a & b; }
  ZO2_HD static I xor_bits(I a, I b) { return a ^ b; }
  template <int N>
  ZO2_HD static I shift_left(I a) {
    return a << N;
  }
  template <int N>
  ZO2_HD static I shift_right(I a) {
    return a >> N;
  }
  template <int N>
  ZO2_HD static I shift_right_signed(I a) {
    // Arithmetic without relying on what a compiler does with a negative number: the sign bit is spread by hand.
    return (a >> N) | ((a & 0x80000000u) ? ~(0xffffffffu >> N) : 0u);
  }
};
}  // namespace

}  // namespace zo2::numerics
