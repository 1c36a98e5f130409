// Shared memory: a region per resident block. Its variables start as NaN and are followed by bytes that must keep their
// value.
#include <algorithm>
#include <cstring>

#include "emulator/arena.h"
#include "emulator/config.h"
#include "emulator/device.h"
#include "emulator/hooks.h"
#include "emulator/poison.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

constexpr size_t kGuard = 32;
constexpr unsigned char kGuardByte = 0xa5;

void add_range(Block& block, const void* key, size_t offset, size_t bytes) {
  char* start = block.shared + offset;
  if constexpr (kPoisons) {
    unpoison(start, bytes);
  } else {
    memset(start + bytes, kGuardByte, kGuard);
  }
  memset(start, 0xff, bytes);
  block.shared_used = offset + bytes + kGuard;
  block.ranges.push_back({key, offset, bytes});
}

}  // namespace

void begin_shared(Block& block, size_t dynamic_bytes) {
  block.shared = shared_region(block.slot);
  if constexpr (kPoisons) poison(block.shared, kSharedRegion);
  block.ranges.clear();
  add_range(block, nullptr, 0, dynamic_bytes);
}

void end_shared(Block& block) {
  if constexpr (kPoisons || kRace) return;  // found where it happened
  for (const SharedRange& range : block.ranges) {
    const unsigned char* guard = reinterpret_cast<unsigned char*>(block.shared) + range.offset + range.bytes;
    if (std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kGuardByte; })) continue;
    report("memcheck", Where(nullptr, 0), "the block wrote past the end of a shared variable of %zu bytes%s",
           range.bytes, range.key == nullptr ? " (the dynamic shared memory of its launch)" : "");
  }
}

bool in_shared(const void* address) {
  const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(arena_base());
  return offset < static_cast<uintptr_t>(shared_region(kSharedSlots) - arena_base());
}

const SharedRange* find_shared(const Block& block, const void* address, size_t bytes) {
  const char* wanted = static_cast<const char*>(address);
  if (wanted < block.shared || wanted >= block.shared + kSharedRegion) return nullptr;
  const size_t offset = static_cast<size_t>(wanted - block.shared);
  for (const SharedRange& range : block.ranges) {
    if (offset >= range.offset && offset + bytes <= range.offset + range.bytes) return &range;
  }
  return nullptr;
}

uint3 thread_index() { return current->index; }
uint3 block_index() { return current->block->index; }

void* dynamic_shared(size_t needed, Where where) {
  if (needed > current_launch->shared_bytes) {
    fail("memcheck", where, "the kernel uses %zu bytes of dynamic shared memory, the launch gave it %zu", needed,
         current_launch->shared_bytes);
  }
  return current->block->shared;
}

void* static_shared(const void* key, size_t bytes, size_t alignment, Where where) {
  Block& block = *current->block;
  for (const SharedRange& range : block.ranges) {
    if (range.key == key) return block.shared + range.offset;
  }
  alignment = std::max<size_t>(alignment, 16);
  const size_t offset = (block.shared_used + alignment - 1) / alignment * alignment;
  if (offset + bytes + kGuard > kSharedRegion ||
      offset + bytes > config().shared_limit() + (block.ranges.size() + 1) * (kGuard + alignment)) {
    fail("memory", where, "the block's shared memory exceeds the device's %zu bytes", config().shared_limit());
  }
  add_range(block, key, offset, bytes);
  return block.shared + offset;
}

void touch(const void* address, size_t bytes, bool write, bool atomic, Where where) {
  if (poisoned(address, bytes)) {
    fail("memcheck", where, "%s of %zu bytes at %p is out of bounds", write ? "write" : "read", bytes, address);
  }
  if (in_shared(address)) {
    if (find_shared(*current->block, address, bytes) == nullptr) {
      fail("memcheck", where, "%s of %zu bytes outside the block's shared variables", write ? "write" : "read", bytes);
    }
  } else if (in_arena(address)) {
    const Allocation* allocation = find_allocation(address);
    if (allocation == nullptr || static_cast<const char*>(address) + bytes > allocation->address + allocation->bytes) {
      fail("memcheck", where, "%s of %zu bytes at %p is outside every buffer", write ? "write" : "read", bytes,
           address);
    }
  }
  if constexpr (kRace) hooks::access(address, bytes, write, atomic, where);
}

}  // namespace zo2::emu
