// Hopper's copy engine: tiles of a row-major matrix to shared memory, in the 128-byte swizzle that wgmma reads.
//
// A tile has `box_rows` rows of 128 bytes (64 elements of 16 bits, 32 of 32 bits). Row r lies at byte 128 r of the
// tile, and its 16-byte chunk c at chunk c ^ (r & 7). The tile begins at a multiple of 1024 bytes. Elements outside the
// matrix arrive as zeros, and count as bytes that landed.
#pragma once

#include <cuda.h>

#include "cuda/instructions/mbarrier.h"

namespace zo2::cuda {

enum class TmaElement { kF16, kBF16, kF32 };

constexpr int kTmaRowBytes = 128;

// Describes a matrix of `rows` x `columns` elements, rows `stride` elements apart, for tma_load_2d with tiles of
// `box_rows` rows. Pass the map to the kernel by value, as `const __grid_constant__ CUtensorMap`. On the host, a few
// microseconds; nothing is enqueued. cudaErrorInvalidValue: base or stride not a multiple of 16 bytes, no rows or
// columns, box_rows not 1 to 256. cudaErrorNotSupported: the driver is older than CUDA 12.0.
inline cudaError_t tma_describe(CUtensorMap* map, TmaElement element, const void* base, int64_t rows, int64_t columns,
                                int64_t stride, int box_rows) {
  const int64_t bytes = element == TmaElement::kF32 ? 4 : 2;
  const bool aligned = reinterpret_cast<uintptr_t>(base) % 16 == 0 && stride * bytes % 16 == 0;
  const int64_t limit = int64_t{1} << 32;
  const bool sized = rows >= 1 && rows <= limit && columns >= 1 && columns <= limit && stride >= columns &&
                     box_rows >= 1 && box_rows <= 256;
  if (base == nullptr || !aligned || !sized) {
    return cudaErrorInvalidValue;
  }
#if ZO2_EMULATED
  emu::tma_describe(map, base, rows, columns, stride, static_cast<int>(bytes), box_rows);
  return cudaSuccess;
#else
  using Encode = decltype(&cuTensorMapEncodeTiled);
  // Asked of the runtime, so that nothing links against the driver's library.
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    return status == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(found) : nullptr;
  }();
  if (encode == nullptr) {
    return cudaErrorNotSupported;
  }
  const CUtensorMapDataType type = element == TmaElement::kF16    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                   : element == TmaElement::kBF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                                  : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(stride * bytes)};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(kTmaRowBytes / bytes), static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  const CUresult status =
      encode(map, type, 2, const_cast<void*>(base), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return status == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
#endif
}

#if !ZO2_EMULATED

// By one thread: starts the copy of the tile whose first element is (row, column); its bytes, box_rows x 128, land on
// `barrier`'s phase, to which mbarrier_arrive_expect_tx announced them.
__device__ __forceinline__ void tma_load_2d(void* shared, const CUtensorMap* map, MBarrier* barrier, int row,
                                            int column) {
#if ZO2_SM90A
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(mbarrier_address(shared)),
      "l"(map), "r"(mbarrier_address(barrier)), "r"(column), "r"(row)
      : "memory");
#else
  __trap();
#endif
}

// Fetches the map itself ahead of its first use.
__device__ __forceinline__ void tma_prefetch(const CUtensorMap* map) {
#if ZO2_SM90A
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#else
  __trap();
#endif
}

#else

inline void tma_load_2d(void* shared, const CUtensorMap* map, MBarrier* barrier, int row, int column,
                        emu::Where where = {}) {
  emu::tma_load_2d(shared, map, barrier, row, column, where);
}
inline void tma_prefetch(const CUtensorMap*) {}

#endif

}  // namespace zo2::cuda
