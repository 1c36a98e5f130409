// Matrix products of one warp on tensor cores: d += a b, fp32 sums. All 32 lanes take part.
//
// Fragments of lane l, with g = l / 4 and t = l % 4 (PTX manual, "Matrix Fragments for mma"):
//   m16n8k16  a[0]: row g, columns 2t, 2t+1      a[1]: row g+8, the same
//             a[2]: row g, columns 2t+8, 2t+9    a[3]: row g+8, the same
//             b[0]: rows 2t, 2t+1 of column g  b[1]: rows 2t+8, 2t+9 of column g
//   m16n8k8   a[0]: (g, t)  a[1]: (g+8, t)  a[2]: (g, t+4)  a[3]: (g+8, t+4)     b[0]: (t, g)  b[1]: (t+4, g)
//   both      d[0], d[1]: row g, columns 2t, 2t+1      d[2], d[3]: row g+8, the same
#pragma once

#include "cuda/kernel.h"

#if ZO2_EMULATED
namespace zo2::emu {
enum class MatrixType { kF16, kBf16, kTf32 };
void multiply_matrices(float* d, const uint32_t* a, const uint32_t* b, MatrixType type, Where where);
uint32_t round_to_tf32(float value);
}  // namespace zo2::emu
#endif

namespace zo2::cuda {

// Types of the operands.
struct F16 {};
struct BF16 {};

#if ZO2_EMULATED

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], F16, emu::Where where = {}) {
  emu::multiply_matrices(d, a, b, emu::MatrixType::kF16, where);
}
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], BF16, emu::Where where = {}) {
  emu::multiply_matrices(d, a, b, emu::MatrixType::kBf16, where);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], emu::Where where = {}) {
  emu::multiply_matrices(d, a, b, emu::MatrixType::kTf32, where);
}
inline uint32_t to_tf32(float value) { return emu::round_to_tf32(value); }

#else

__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], F16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], BF16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Operands are bits of tf32, as to_tf32 makes them.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// To 10 bits of mantissa, to nearest, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

#endif

}  // namespace zo2::cuda
