// What g++ -fsanitize=thread calls for each access to memory, and instead of each atomic operation. The runtime of
// ThreadSanitizer is not linked.
#include "emulator/race_callbacks.h"

#include <mutex>

#include "emulator/arena.h"
#include "emulator/internal.h"
#include "emulator/race_place.h"
#include "emulator/race_shadow.h"
#include "emulator/streams.h"

namespace zo2::emu::race {
namespace {

bool inside(uintptr_t address, const void* object, size_t bytes) {
  return address - reinterpret_cast<uintptr_t>(object) < bytes;
}

// What the emulator's own inline code reads on behalf of a kernel, and constants.
bool allowed(uintptr_t address, bool write) {
  const Thread& thread = *current;
  return inside(address, current_launch->arguments, current_launch->arguments_size) ||
         inside(address, &thread, sizeof thread) || inside(address, thread.warp, sizeof *thread.warp) ||
         inside(address, thread.block, sizeof *thread.block) || (!write && in_image(address));
}

void touched(void* pointer, size_t bytes, bool write, const void* return_address) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (current == nullptr) {
    if (in_arena(pointer)) {
      const std::lock_guard hold(runtime_lock());
      host_access(address, bytes, write, return_address);
    }
    return;
  }
  if (in_fiber_stack(pointer)) {
    return;
  }
  if (inside(address, current->block->shared, kSharedRegion) || find_memory(address) != nullptr) {
    kernel_access(address, bytes, write, return_address);
  } else if (!allowed(address, write)) {
    kernel_touches_host(address, bytes, write, return_address);
  }
}

}  // namespace
}  // namespace zo2::emu::race

using zo2::emu::race::touched;

#define ZO2_PLACE __builtin_return_address(0)
#define ZO2_ACCESS(bytes)                                                             \
  void __tsan_read##bytes(void* p) { touched(p, bytes, false, ZO2_PLACE); }           \
  void __tsan_write##bytes(void* p) { touched(p, bytes, true, ZO2_PLACE); }           \
  void __tsan_unaligned_read##bytes(void* p) { touched(p, bytes, false, ZO2_PLACE); } \
  void __tsan_unaligned_write##bytes(void* p) { touched(p, bytes, true, ZO2_PLACE); }

// Atomic operations of host code (counters, guards of function statics): carried out, not watched.
#define ZO2_ATOMIC(bits, type)                                                                                  \
  type __tsan_atomic##bits##_load(const volatile type* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##bits##_store(volatile type* p, type v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); } \
  type __tsan_atomic##bits##_exchange(volatile type* p, type v, int) {                                          \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                         \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_add(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_sub(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_and(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_or(volatile type* p, type v, int) {                                          \
    return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_xor(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type v, int, int) {       \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type v, int, int) {         \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }

extern "C" {

ZO2_ACCESS(1)
ZO2_ACCESS(2)
ZO2_ACCESS(4)
ZO2_ACCESS(8)
ZO2_ACCESS(16)
void __tsan_read_range(void* p, size_t bytes) { touched(p, bytes, false, ZO2_PLACE); }
void __tsan_write_range(void* p, size_t bytes) { touched(p, bytes, true, ZO2_PLACE); }

ZO2_ATOMIC(8, uint8_t)
ZO2_ATOMIC(16, uint16_t)
ZO2_ATOMIC(32, uint32_t)
ZO2_ATOMIC(64, uint64_t)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

}  // extern "C"

#undef ZO2_PLACE
#undef ZO2_ACCESS
#undef ZO2_ATOMIC
