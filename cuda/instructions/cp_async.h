// Asynchronous copies from global to shared memory, 16 bytes at a time.
#pragma once

#include "cuda/kernel.h"

#if ZO2_EMULATED
namespace zo2::emu {
void async_copy(void* shared, const void* global, int bytes, Where where);
void async_commit();
void async_wait(int groups_left);
}  // namespace zo2::emu
#endif

namespace zo2::cuda {

#if ZO2_EMULATED

inline void cp_async_16(void* shared, const void* global, int bytes, emu::Where where = {}) {
  emu::async_copy(shared, global, bytes, where);
}
inline void cp_async_commit() { emu::async_commit(); }
template <int kGroupsLeft>
inline void cp_async_wait() {
  emu::async_wait(kGroupsLeft);
}

#else

// Copies `bytes` (0 to 16) from `global` and fills the rest of the 16 with zeros. Both addresses are multiples of 16,
// `global` also when bytes is 0. `shared` holds nothing of use until this thread has waited for the group (and others
// have passed a barrier after that).
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, int bytes) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(bytes)
      : "memory");
}

// Closes this thread's group of copies; a group may be empty.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kGroupsLeft of this thread's groups are outstanding.
template <int kGroupsLeft>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

#endif

}  // namespace zo2::cuda
