#include "emulator/race_shadow.h"

#include <sys/mman.h>

#include <map>
#include <vector>

#include "emulator/hooks.h"

namespace zo2::emu {
namespace race {
namespace {

constexpr size_t kCacheEntries = 256;
constexpr unsigned kCachePageBits = 12;

struct State {
  std::map<uintptr_t, Memory> memories;  // by begin
  std::vector<Cell*> shared;             // by slot of the block
  // The memory that was found last for a page of this number (modulo the table), so that most accesses need no search.
  const Memory* cache[kCacheEntries] = {};

  void forget_cache() {
    for (const Memory*& entry : cache) {
      entry = nullptr;
    }
  }
};

State& state() {
  static State& only = *new State;
  return only;
}

size_t cell_count(uintptr_t begin, uintptr_t end) { return (end + kCellBytes - 1) / kCellBytes - begin / kCellBytes; }

// Zero, and no memory until touched.
Cell* make_cells(size_t count) {
  void* const cells =
      mmap(nullptr, count * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return cells == MAP_FAILED ? nullptr : static_cast<Cell*>(cells);
}

void add(const void* address, size_t bytes, Kind kind) {
  if (bytes == 0) {
    return;
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  Cell* const cells = make_cells(cell_count(begin, begin + bytes));
  if (cells == nullptr) {
    report("racecheck", {"race_shadow.cc", __LINE__}, "no address space to watch %zu bytes", bytes);
    return;
  }
  state().memories[begin] = {begin, begin + bytes, kind, cells};
}

void remove(const void* address) {
  const auto found = state().memories.find(reinterpret_cast<uintptr_t>(address));
  if (found == state().memories.end()) {
    return;
  }
  const Memory& memory = found->second;
  munmap(static_cast<void*>(memory.cells), cell_count(memory.begin, memory.end) * sizeof(Cell));
  state().memories.erase(found);
  state().forget_cache();
}

}  // namespace

const Memory* find_memory(uintptr_t address) {
  const Memory*& cached = state().cache[(address >> kCachePageBits) % kCacheEntries];
  if (cached != nullptr && address >= cached->begin && address < cached->end) {
    return cached;
  }
  const Memory* const below = find_memory_below(address);
  if (below == nullptr || address >= below->end) {
    return nullptr;
  }
  cached = below;
  return cached;
}

const Memory* find_memory_below(uintptr_t address) {
  auto next = state().memories.upper_bound(address);
  return next == state().memories.begin() ? nullptr : &std::prev(next)->second;
}

void forget_memory() {
  while (!state().memories.empty()) {
    remove(reinterpret_cast<const void*>(state().memories.begin()->first));
  }
  for (Cell*& cells : state().shared) {
    if (cells != nullptr) munmap(static_cast<void*>(cells), kSharedRegion / kCellBytes * sizeof(Cell));
    cells = nullptr;
  }
}

Cell* shared_cells(int block_slot) {
  std::vector<Cell*>& shared = state().shared;
  if (shared.size() <= static_cast<size_t>(block_slot)) {
    shared.resize(block_slot + 1, nullptr);
  }
  if (shared[block_slot] == nullptr) {
    shared[block_slot] = make_cells(kSharedRegion / kCellBytes);
  }
  return shared[block_slot];
}

}  // namespace race

namespace hooks {

void allocated(const void* address, size_t bytes, bool pinned) {
  race::add(address, bytes, pinned ? race::Kind::kPinned : race::Kind::kDevice);
}
void freed(const void* address, size_t, bool) { race::remove(address); }
void registered(const void* address, size_t bytes) { race::add(address, bytes, race::Kind::kRegistered); }
void unregistered(const void* address, size_t) { race::remove(address); }

}  // namespace hooks
}  // namespace zo2::emu
