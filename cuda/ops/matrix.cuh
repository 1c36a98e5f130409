// A matrix in device memory as the launchers of cuda/ops take it, and access to its elements in fp32.
#pragma once

#include <cstdint>
#include <cstring>

#include "contract/zo2.h"
#include "cuda/kernel.h"

namespace zo2::cuda {

// Element (r, c) lies `r * stride + c` elements behind `data`; stride >= cols. Rows are aligned to their element only,
// unless rows_aligned says more. `data` null: an optional operand that is absent.
struct Matrix {
  void* data;
  zo2_dtype dtype;
  int64_t rows, cols, stride;

  __host__ __device__ bool present() const { return data != nullptr; }
  __host__ __device__ bool empty() const { return rows == 0 || cols == 0; }
};

__host__ __device__ inline int dtype_bytes(zo2_dtype dtype) { return dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 4; }

// Address of an element; what lies there has the matrix's dtype.
__host__ __device__ inline unsigned char* element_address(const Matrix& m, int64_t row, int64_t col) {
  return static_cast<unsigned char*>(m.data) + (row * m.stride + col) * dtype_bytes(m.dtype);
}

// Whether every row begins at a multiple of `bytes` (a power of two).
__host__ __device__ inline bool rows_aligned(const Matrix& m, int bytes) {
  const uint64_t pitch = m.rows > 1 ? static_cast<uint64_t>(m.stride) * static_cast<uint64_t>(dtype_bytes(m.dtype)) : 0;
  return ((reinterpret_cast<uintptr_t>(m.data) | pitch) & static_cast<uint64_t>(bytes - 1)) == 0;
}

// One value to fp32 (exact) and from fp32 (to nearest even; overflow gives infinity).
__host__ __device__ inline float widen(float x) { return x; }
__host__ __device__ inline float widen(__half x) { return __half2float(x); }
__host__ __device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__host__ __device__ T narrow(float x);
template <>
__host__ __device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__host__ __device__ inline __half narrow<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__host__ __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// The same on bit patterns of 16-bit values, for values that travel packed in words.
__device__ inline float widen_bits(uint32_t bits, zo2_dtype dtype) {
  if (dtype == ZO2_BF16) return __uint_as_float(bits << 16);
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}

__device__ inline uint32_t narrow_bits(float x, zo2_dtype dtype) {
  if (dtype == ZO2_BF16) return __bfloat16_as_ushort(__float2bfloat16_rn(x));
  return __half_as_ushort(__float2half_rn(x));
}

// One element. The dtype is the same for all threads of a launch, so the branches do not diverge.
__device__ inline float load_element(const Matrix& m, int64_t row, int64_t col) {
  const unsigned char* p = element_address(m, row, col);
  if (m.dtype == ZO2_F32) return *reinterpret_cast<const float*>(p);
  return widen_bits(*reinterpret_cast<const uint16_t*>(p), m.dtype);
}

__device__ inline void store_element(const Matrix& m, int64_t row, int64_t col, float x) {
  unsigned char* p = element_address(m, row, col);
  if (m.dtype == ZO2_F32) {
    *reinterpret_cast<float*>(p) = x;
  } else {
    *reinterpret_cast<uint16_t*>(p) = static_cast<uint16_t>(narrow_bits(x, m.dtype));
  }
}

// Four consecutive elements of one row. The element's address must be a multiple of their size: 16 bytes for F32, 8 for
// the others.
__device__ inline float4 load_four(const Matrix& m, int64_t row, int64_t col) {
  const unsigned char* p = element_address(m, row, col);
  if (m.dtype == ZO2_F32) return *reinterpret_cast<const float4*>(p);
  const uint2 packed = *reinterpret_cast<const uint2*>(p);
  return make_float4(widen_bits(packed.x & 0xffffu, m.dtype), widen_bits(packed.x >> 16, m.dtype),
                     widen_bits(packed.y & 0xffffu, m.dtype), widen_bits(packed.y >> 16, m.dtype));
}

__device__ inline void store_four(const Matrix& m, int64_t row, int64_t col, float4 v) {
  unsigned char* p = element_address(m, row, col);
  if (m.dtype == ZO2_F32) {
    *reinterpret_cast<float4*>(p) = v;
  } else {
    *reinterpret_cast<uint2*>(p) = make_uint2(narrow_bits(v.x, m.dtype) | narrow_bits(v.y, m.dtype) << 16,
                                              narrow_bits(v.z, m.dtype) | narrow_bits(v.w, m.dtype) << 16);
  }
}

// Whether load_four and store_four reach every fourth element of every row.
__host__ __device__ inline bool fours_aligned(const Matrix& m) { return rows_aligned(m, 4 * dtype_bytes(m.dtype)); }

// The first `count` (1..4) of four elements, for the end of a row; the others are 0, and nothing behind the row is
// touched. `fours`: fours_aligned(m), with `col` a multiple of 4.
__device__ inline float4 load_clipped(const Matrix& m, int64_t row, int64_t col, int count, bool fours) {
  if (fours && count == 4) return load_four(m, row, col);
  float4 v = make_float4(load_element(m, row, col), 0.0f, 0.0f, 0.0f);
  if (count > 1) v.y = load_element(m, row, col + 1);
  if (count > 2) v.z = load_element(m, row, col + 2);
  if (count > 3) v.w = load_element(m, row, col + 3);
  return v;
}

__device__ inline void store_clipped(const Matrix& m, int64_t row, int64_t col, int count, bool fours, float4 v) {
  if (fours && count == 4) return store_four(m, row, col, v);
  store_element(m, row, col, v.x);
  if (count > 1) store_element(m, row, col + 1, v.y);
  if (count > 2) store_element(m, row, col + 2, v.z);
  if (count > 3) store_element(m, row, col + 3, v.w);
}

__device__ inline float4 add_four(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// Calls f with a value of the dtype's C++ type, to choose among kernels by dtype: with_dtype(d, [&](auto t) { using T =
// decltype(t); ... }). An integer dtype counts as F32: operands were checked before.
template <class F>
auto with_dtype(zo2_dtype dtype, F&& f) {
  switch (dtype) {
    case ZO2_F16:
      return f(__half{});
    case ZO2_BF16:
      return f(__nv_bfloat16{});
    default:
      return f(float{});
  }
}

}  // namespace zo2::cuda
