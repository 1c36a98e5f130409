// Packs: eight consecutive elements of a row in fp32 registers, loaded and stored with 16-byte accesses where the row
// is aligned for them.
#pragma once

#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

constexpr int kPack = 8;

// Whether packs that begin at multiples of kPack columns may be accessed as vectors.
inline bool packs_aligned(const Matrix& m) { return rows_aligned(m, 16); }

inline int64_t packs_of(int64_t cols) { return (cols + kPack - 1) / kPack; }

// Calls f with a value of the dtype's C++ type. All threads of a launch take the same branch; a loop belongs inside f,
// so that its loads are not held apart by branches.
template <class F>
__device__ inline void for_dtype(zo2_dtype dtype, F&& f) {
  if (dtype == ZO2_F32) {
    f(float{});
  } else if (dtype == ZO2_F16) {
    f(__half{});
  } else {
    f(__nv_bfloat16{});
  }
}

template <class T>
struct DtypeOf;
template <>
struct DtypeOf<__half> {
  static constexpr zo2_dtype value = ZO2_F16;
};
template <>
struct DtypeOf<__nv_bfloat16> {
  static constexpr zo2_dtype value = ZO2_BF16;
};

template <class T>
__device__ inline T* elements(const Matrix& m, int64_t row, int64_t col) {
  return reinterpret_cast<T*>(element_address(m, row, col));
}

__device__ inline void load_vector(const float* p, float (&x)[kPack]) {
  const float4 low = reinterpret_cast<const float4*>(p)[0], high = reinterpret_cast<const float4*>(p)[1];
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}

template <class T>
__device__ inline void load_vector(const T* p, float (&x)[kPack]) {
  const uint4 words = *reinterpret_cast<const uint4*>(p);
  const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = widen_bits(word[i] & 0xffffu, DtypeOf<T>::value);
    x[2 * i + 1] = widen_bits(word[i] >> 16, DtypeOf<T>::value);
  }
}

__device__ inline void store_vector(float* p, const float (&x)[kPack]) {
  reinterpret_cast<float4*>(p)[0] = make_float4(x[0], x[1], x[2], x[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(x[4], x[5], x[6], x[7]);
}

template <class T>
__device__ inline void store_vector(T* p, const float (&x)[kPack]) {
  uint32_t word[4];
#pragma unroll
  for (int i = 0; i < 4; i++)
    word[i] = narrow_bits(x[2 * i], DtypeOf<T>::value) | narrow_bits(x[2 * i + 1], DtypeOf<T>::value) << 16;
  *reinterpret_cast<uint4*>(p) = make_uint4(word[0], word[1], word[2], word[3]);
}

// The first `count` elements from p; the others are 0. Nothing else is touched; count may be 0 or less. `vector`: p is
// aligned to 16 bytes.
template <class T>
__device__ inline void load_pack(const T* p, int64_t count, bool vector, float (&x)[kPack]) {
  if (vector && count >= kPack) return load_vector(p, x);
#pragma unroll
  for (int i = 0; i < kPack; i++) x[i] = i < count ? widen(p[i]) : 0.0f;
}

template <class T>
__device__ inline void store_pack(T* p, int64_t count, bool vector, const float (&x)[kPack]) {
  if (vector && count >= kPack) return store_vector(p, x);
#pragma unroll
  for (int i = 0; i < kPack; i++) {
    if (i < count) p[i] = narrow<T>(x[i]);
  }
}

}  // namespace zo2::cuda
