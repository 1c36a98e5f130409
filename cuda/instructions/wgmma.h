// Hopper's matrix product of a warpgroup (128 threads, the first of them a multiple of 128): d += A B^T, A of 64 x 16
// and B of N x 16 elements, both in shared memory as tma_load_2d leaves them, f16 or bf16; d in fp32 registers.
//
// Thread t of the warpgroup holds, for j < N / 8: d[4 j + e] = element (16 (t / 32) + t % 32 / 4 + 8 (e / 2), 8 j + 2
// (t % 4) + e % 2) of the tile. The order of calls: wgmma_fence, any number of wgmma_m64k16, wgmma_commit,
// wgmma_wait<groups that may still run>. Until the wait, neither d nor the operands may be touched. All 128 threads
// call each of them.
#pragma once

#include "cuda/instructions/mbarrier.h"
#include "cuda/instructions/mma.h"

namespace zo2::cuda {

// `bytes` further along the rows of the tile that `descriptor` describes: a multiple of 32, less than 128.
__host__ __device__ inline uint64_t wgmma_advance(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

#if !ZO2_EMULATED

// Describes a tile of rows of 128 bytes in the 128-byte swizzle, at a multiple of 1024 bytes: groups of 8 rows lie 1024
// bytes apart.
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* tile) {
  return uint64_t{(mbarrier_address(tile) & 0x3ffff) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

// Orders the warpgroup's accesses to accumulators (and, with fence_proxy_async, to shared memory) before the products
// that follow.
__device__ __forceinline__ void wgmma_fence() {
#if ZO2_SM90A
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  __trap();
#endif
}

// Ends a group of products.
__device__ __forceinline__ void wgmma_commit() {
#if ZO2_SM90A
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  __trap();
#endif
}

// Waits until at most `Running` of the last groups have not finished.
template <int Running>
__device__ __forceinline__ void wgmma_wait() {
#if ZO2_SM90A
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Running) : "memory");
#else
  __trap();
#endif
}

// Keeps the compiler from moving accesses to accumulators across this place.
template <int Count>
__device__ __forceinline__ void wgmma_pin(float (&d)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; i++) {
    asm volatile("" : "+f"(d[i])::"memory");
  }
}

// Registers that a warpgroup gives back or takes (a multiple of 8, 24 to 256), where the kernel has a register cap at
// its entry.
template <int Registers>
__device__ __forceinline__ void registers_release() {
#if ZO2_SM90A
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  __trap();
#endif
}
template <int Registers>
__device__ __forceinline__ void registers_take() {
#if ZO2_SM90A
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  __trap();
#endif
}

#if ZO2_SM90A

// Ten operands of the instruction's text whose numbers begin with the digits `tens`; then the accumulators as operands,
// eight at a time.
#define ZO2_WGMMA_TEN(tens)                                                                                            \
  "%" tens "0, %" tens "1, %" tens "2, %" tens "3, %" tens "4, %" tens "5, %" tens "6, %" tens "7, %" tens "8, %" tens \
  "9, "
#define ZO2_WGMMA_8(i)                                                                                  \
  "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), "+f"(d[(i) + 5]), \
      "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define ZO2_WGMMA_32(i) ZO2_WGMMA_8(i), ZO2_WGMMA_8((i) + 8), ZO2_WGMMA_8((i) + 16), ZO2_WGMMA_8((i) + 24)
#define ZO2_WGMMA_TEXT_32 ZO2_WGMMA_TEN("") ZO2_WGMMA_TEN("1") ZO2_WGMMA_TEN("2") "%30, %31"
#define ZO2_WGMMA_TEXT_60 \
  ZO2_WGMMA_TEN("") ZO2_WGMMA_TEN("1") ZO2_WGMMA_TEN("2") ZO2_WGMMA_TEN("3") ZO2_WGMMA_TEN("4") ZO2_WGMMA_TEN("5")
#define ZO2_WGMMA_TEXT_64 ZO2_WGMMA_TEXT_60 "%60, %61, %62, %63"
#define ZO2_WGMMA_TEXT_120                                                                                          \
  ZO2_WGMMA_TEXT_60 ZO2_WGMMA_TEN("6") ZO2_WGMMA_TEN("7") ZO2_WGMMA_TEN("8") ZO2_WGMMA_TEN("9") ZO2_WGMMA_TEN("10") \
      ZO2_WGMMA_TEN("11")
#define ZO2_WGMMA_TEXT_128 ZO2_WGMMA_TEXT_120 "%120, %121, %122, %123, %124, %125, %126, %127"

// `shape`: as in the instruction's name; `text`: the accumulators' numbers; `a`, `b`, `p`: the numbers of the three
// operands that follow them.
#define ZO2_WGMMA(shape, type, text, a_number, b_number, p_number, ...)                                        \
  asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %" p_number ", 0;\n\twgmma.mma_async.sync.aligned." shape \
               ".f32." type "." type " {" text "}, %" a_number ", %" b_number ", p, 1, 1, 0, 0;\n\t}"          \
               : __VA_ARGS__                                                                                   \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

#define ZO2_WGMMA_SHAPES(tag, type)                                                                                    \
  __device__ __forceinline__ void wgmma_m64k16(float (&d)[32], uint64_t a, uint64_t b, tag, bool accumulate = true) {  \
    ZO2_WGMMA("m64n64k16", type, ZO2_WGMMA_TEXT_32, "32", "33", "34", ZO2_WGMMA_32(0));                                \
  }                                                                                                                    \
  __device__ __forceinline__ void wgmma_m64k16(float (&d)[64], uint64_t a, uint64_t b, tag, bool accumulate = true) {  \
    ZO2_WGMMA("m64n128k16", type, ZO2_WGMMA_TEXT_64, "64", "65", "66", ZO2_WGMMA_32(0), ZO2_WGMMA_32(32));             \
  }                                                                                                                    \
  __device__ __forceinline__ void wgmma_m64k16(float (&d)[128], uint64_t a, uint64_t b, tag, bool accumulate = true) { \
    ZO2_WGMMA("m64n256k16", type, ZO2_WGMMA_TEXT_128, "128", "129", "130", ZO2_WGMMA_32(0), ZO2_WGMMA_32(32),          \
              ZO2_WGMMA_32(64), ZO2_WGMMA_32(96));                                                                     \
  }

// d, of N / 2 elements (N = 64, 128, 256), becomes d + A B^T, or A B^T where `accumulate` is false.
ZO2_WGMMA_SHAPES(F16, "f16")
ZO2_WGMMA_SHAPES(BF16, "bf16")

#undef ZO2_WGMMA_TEN
#undef ZO2_WGMMA_8
#undef ZO2_WGMMA_32
#undef ZO2_WGMMA_TEXT_32
#undef ZO2_WGMMA_TEXT_60
#undef ZO2_WGMMA_TEXT_64
#undef ZO2_WGMMA_TEXT_120
#undef ZO2_WGMMA_TEXT_128
#undef ZO2_WGMMA
#undef ZO2_WGMMA_SHAPES

#else

template <int Count, typename Element>
__device__ __forceinline__ void wgmma_m64k16(float (&)[Count], uint64_t, uint64_t, Element, bool = true) {
  __trap();
}

#endif

#else

inline uint64_t wgmma_descriptor(const void* tile, emu::Where where = {}) { return emu::wgmma_descriptor(tile, where); }
inline void wgmma_fence(emu::Where where = {}) { emu::wgmma_fence(where); }
inline void wgmma_commit(emu::Where where = {}) { emu::wgmma_commit(where); }
template <int Running>
void wgmma_wait(emu::Where where = {}) {
  emu::wgmma_wait(Running, where);
}
template <int Count>
void wgmma_pin(float (&)[Count]) {}
template <int Registers>
void registers_release() {}
template <int Registers>
void registers_take() {}

template <int Count>
void wgmma_m64k16(float (&d)[Count], uint64_t a, uint64_t b, F16, bool accumulate = true, emu::Where where = {}) {
  static_assert(Count == 32 || Count == 64 || Count == 128, "N is 64, 128 or 256");
  emu::wgmma(d, 2 * Count, a, b, emu::WgmmaElement::kF16, accumulate, where);
}
template <int Count>
void wgmma_m64k16(float (&d)[Count], uint64_t a, uint64_t b, BF16, bool accumulate = true, emu::Where where = {}) {
  static_assert(Count == 32 || Count == 64 || Count == 128, "N is 64, 128 or 256");
  emu::wgmma(d, 2 * Count, a, b, emu::WgmmaElement::kBF16, accumulate, where);
}

#endif

}  // namespace zo2::cuda
