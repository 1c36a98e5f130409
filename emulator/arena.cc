#include "emulator/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "emulator/config.h"
#include "emulator/hooks.h"
#include "emulator/internal.h"
#include "emulator/poison.h"

namespace zo2::emu {
namespace {

constexpr size_t kLargestArena = size_t{256} << 30;
constexpr size_t kSmallestArena = size_t{8} << 30;
constexpr size_t kAlignment = 256;
// New memory is filled with NaN up to here; larger buffers stay untouched, so that they cost nothing.
constexpr size_t kFilled = 64 << 20;

size_t page() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}
size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }
size_t shared_stride() { return kSharedRegion + page(); }

struct Placed {
  Allocation allocation;
  size_t pages_start;  // offsets in the arena; the guard page is not part of it
  size_t pages_bytes;
};

struct Arena {
  char* base = nullptr;
  size_t bytes = 0;
  size_t heap = 0;                // offset of what allocate() gives out
  size_t cursor = 0;              // where the next search begins: addresses come back as late as possible
  std::map<size_t, Placed> live;  // by pages_start
  uint64_t device_bytes = 0;

  Arena() {
    for (size_t size = kLargestArena; size >= kSmallestArena && base == nullptr; size /= 2) {
      void* range = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (range == MAP_FAILED) continue;
      base = static_cast<char*>(range);
      bytes = size;
    }
    if (base == nullptr) return;
    for (int slot = 0; slot < kSharedSlots; ++slot) {
      char* region = base + slot * shared_stride();
      mprotect(region, kSharedRegion, PROT_READ | PROT_WRITE);
      poison(region, kSharedRegion);
    }
    heap = cursor = round_up(kSharedSlots * shared_stride(), 1 << 20);
  }

  // Offset of `size` free bytes at or after `from` and before the end; 0 when there are none.
  size_t find_room(size_t from, size_t size) const {
    auto next = live.lower_bound(from);
    if (next != live.begin()) {
      const Placed& before = std::prev(next)->second;
      const size_t end = before.pages_start + before.pages_bytes + page();
      if (end > from) from = end;
    }
    for (; next != live.end(); ++next) {
      if (next->first >= from + size) return from;
      from = next->second.pages_start + next->second.pages_bytes + page();
    }
    return from + size <= bytes ? from : 0;
  }
};

// Never destroyed: threads of the runtime may still run while the process exits.
Arena& arena() {
  static Arena* instance = new Arena;
  return *instance;
}

void forget(Arena& a, const Placed& placed) {
  const Allocation& allocation = placed.allocation;
  if constexpr (kRace) hooks::freed(allocation.address, allocation.bytes, allocation.pinned);
  char* start = a.base + placed.pages_start;
  unpoison(start, placed.pages_bytes);
  madvise(start, placed.pages_bytes, MADV_DONTNEED);
  mprotect(start, placed.pages_bytes, PROT_NONE);
  if (!allocation.pinned) a.device_bytes -= allocation.bytes;
}

}  // namespace

char* arena_base() { return arena().base; }
size_t arena_bytes() { return arena().bytes; }
char* shared_region(int slot) { return arena().base + slot * shared_stride(); }

void* allocate(size_t bytes, bool pinned) {
  Arena& a = arena();
  if (a.base == nullptr || bytes > a.bytes) return nullptr;
  if (!pinned && bytes > config().memory - a.device_bytes) return nullptr;
  const size_t pages = round_up(round_up(bytes, kAlignment), page());
  size_t start = a.find_room(a.cursor, pages + page());
  if (start == 0) start = a.find_room(a.heap, pages + page());
  if (start == 0 || mprotect(a.base + start, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
  a.cursor = start + pages + page();
  char* address = a.base + start + (pages - round_up(bytes, kAlignment));
  if (bytes <= kFilled) memset(address, 0xff, bytes);
  poison(a.base + start, address - (a.base + start));
  poison(address + bytes, a.base + start + pages - (address + bytes));
  a.live[start] = {{address, bytes, pinned}, start, pages};
  if (!pinned) a.device_bytes += bytes;
  if constexpr (kRace) hooks::allocated(address, bytes, pinned);
  return address;
}

const Allocation* find_allocation(const void* address) {
  const Arena& a = arena();
  if (!in_arena(address)) return nullptr;
  const char* wanted = static_cast<const char*>(address);
  auto after = a.live.upper_bound(static_cast<size_t>(wanted - a.base));
  if (after == a.live.begin()) return nullptr;
  // The end of an allocation may be the first byte of its guard page.
  const Allocation& found = std::prev(after)->second.allocation;
  return wanted >= found.address && wanted <= found.address + found.bytes ? &found : nullptr;
}

bool release(void* address, bool pinned) {
  const Allocation* found = find_allocation(address);
  if (found == nullptr || found->address != address || found->pinned != pinned) return false;
  Arena& a = arena();
  auto after = a.live.upper_bound(static_cast<size_t>(static_cast<char*>(address) - a.base));
  const auto place = std::prev(after);
  forget(a, place->second);
  a.live.erase(place);
  return true;
}

void release_everything() {
  Arena& a = arena();
  for (const auto& [start, placed] : a.live) forget(a, placed);
  a.live.clear();
}

uint64_t device_bytes_in_use() { return arena().device_bytes; }
size_t live_allocations() { return arena().live.size(); }

}  // namespace zo2::emu
