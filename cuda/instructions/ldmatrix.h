// Loads of 8 x 8 matrices of 16-bit elements from shared memory into the fragments of mma.h. All 32 lanes take part.
//
// Lane 8 m + i gives the address of row i of matrix m: 16 bytes, aligned to 16. Afterwards lane l has in r[m] the
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of matrix m (low half first); with _trans, the elements of that
// matrix transposed. ldmatrix_x2 reads the addresses of lanes 0 to 15 only, but the others pass valid ones too.
#pragma once

#include "cuda/kernel.h"

#if ZO2_EMULATED
namespace zo2::emu {
void load_matrices(uint32_t* registers, int matrices, bool transposed, const void* row, Where where);
}  // namespace zo2::emu
#endif

namespace zo2::cuda {

#if ZO2_EMULATED

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, emu::Where where = {}) {
  emu::load_matrices(r, 4, false, row, where);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, emu::Where where = {}) {
  emu::load_matrices(r, 4, true, row, where);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, emu::Where where = {}) {
  emu::load_matrices(r, 2, false, row, where);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, emu::Where where = {}) {
  emu::load_matrices(r, 2, true, row, where);
}

#else

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

#endif

}  // namespace zo2::cuda
