// The addresses of the emulated device: one reserved range, in which shared memory of blocks, device memory and pinned
// memory lie. What is not allocated is inaccessible, so that stray accesses fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zo2::emu {

constexpr int kSharedSlots = 64;  // blocks that may be resident at once

// The range; reserved at the first call. Null when the system gives no addresses at all.
char* arena_base();
size_t arena_bytes();
inline bool in_arena(const void* address) {
  return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(arena_base()) < arena_bytes();
}

// Shared memory of the block in `slot`: internal.h's kSharedRegion bytes, with inaccessible pages between the slots.
char* shared_region(int slot);

struct Allocation {
  char* address;
  size_t bytes;
  bool pinned;
};

// Memory whose last byte lies in the last 256 of a page, the next page being inaccessible; aligned to 256. Null when
// there is no room, or, for device memory, when more than config().memory bytes would be in use.
void* allocate(size_t bytes, bool pinned);
// Returns false when `address` is not the start of an allocation of that kind.
bool release(void* address, bool pinned);
// The live allocation that `address` lies in; null when there is none. The end of an allocation belongs to it.
const Allocation* find_allocation(const void* address);
void release_everything();

uint64_t device_bytes_in_use();
size_t live_allocations();

}  // namespace zo2::emu
