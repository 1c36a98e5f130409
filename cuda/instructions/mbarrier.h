// Barriers in shared memory that count arrivals and bytes (Hopper's mbarrier), and the fences that go with them.
//
// A barrier has phases. A phase ends when `count` threads have arrived and every byte they announced has landed; then
// the next one begins, with the same count. A waiter names a phase by its parity: the first phase is 0, the next 1,
// then 0 again. Below sm_90a every function traps: a kernel that uses them keeps its body under `#if ZO2_SM90A`.
#pragma once

#include "cuda/kernel.h"

// 1 where Hopper's instructions exist: the sm_90a pass of nvcc, and the emulator.
#if ZO2_EMULATED || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ZO2_SM90A 1
#else
#define ZO2_SM90A 0
#endif

#if ZO2_EMULATED
#include "emulator/hopper.h"
#endif

namespace zo2::cuda {

// Lies in shared memory, belongs to nothing but the functions below.
struct alignas(8) MBarrier {
  uint64_t word;
};

#if !ZO2_EMULATED

// The address of a pointer into shared memory as PTX wants it.
__device__ __forceinline__ uint32_t mbarrier_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// By one thread, once; mbarrier_init_fence and a __syncthreads stand between it and every other use. `count`: arrivals
// of a phase, 1 to 2^20 - 1.
__device__ __forceinline__ void mbarrier_init(MBarrier* barrier, int count) {
#if ZO2_SM90A
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(mbarrier_address(barrier)), "r"(count) : "memory");
#else
  __trap();
#endif
}

// Makes the thread's mbarrier_init calls known to the copy engine.
__device__ __forceinline__ void mbarrier_init_fence() {
#if ZO2_SM90A
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
#else
  __trap();
#endif
}

// Orders the thread's ordinary accesses to shared memory before those of the copy engine and the tensor cores that
// follow a later barrier.
__device__ __forceinline__ void fence_proxy_async() {
#if ZO2_SM90A
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  __trap();
#endif
}

// One arrival; what the thread did before is seen by those who wait for the phase.
__device__ __forceinline__ void mbarrier_arrive(MBarrier* barrier) {
#if ZO2_SM90A
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(mbarrier_address(barrier)) : "memory");
#else
  __trap();
#endif
}

// One arrival, which announces `bytes` that tma_load_2d will bring.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(MBarrier* barrier, int bytes) {
#if ZO2_SM90A
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(mbarrier_address(barrier)), "r"(bytes)
               : "memory");
#else
  __trap();
#endif
}

// Whether the phase of this parity has ended; may wait a while before it says no.
__device__ __forceinline__ bool mbarrier_try_wait(MBarrier* barrier, int parity) {
#if ZO2_SM90A
  uint32_t done;
  asm volatile(
      "{\n\t"
      ".reg .pred p;\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t"
      "}"
      : "=r"(done)
      : "r"(mbarrier_address(barrier)), "r"(parity)
      : "memory");
  return done != 0;
#else
  __trap();
  return false;
#endif
}

// Returns once the phase of this parity has ended.
__device__ __forceinline__ void mbarrier_wait(MBarrier* barrier, int parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

#else

inline void mbarrier_init(MBarrier* barrier, int count, emu::Where where = {}) {
  emu::mbarrier_init(barrier, count, where);
}
inline void mbarrier_init_fence() {}
inline void fence_proxy_async() {}
inline void mbarrier_arrive(MBarrier* barrier, emu::Where where = {}) { emu::mbarrier_arrive(barrier, 0, where); }
inline void mbarrier_arrive_expect_tx(MBarrier* barrier, int bytes, emu::Where where = {}) {
  emu::mbarrier_arrive(barrier, bytes, where);
}
inline bool mbarrier_try_wait(MBarrier* barrier, int parity, emu::Where where = {}) {
  return emu::mbarrier_try_wait(barrier, parity, where);
}
inline void mbarrier_wait(MBarrier* barrier, int parity, emu::Where where = {}) {
  emu::mbarrier_wait(barrier, parity, where);
}

#endif

}  // namespace zo2::cuda
