// mbarrier and the copy engine. What a barrier holds is kept here, beside shared memory; its 8 bytes there hold a word
// that changes with every use, so that a kernel that writes over a barrier is told.
#include "emulator/hopper.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "emulator/hooks.h"
#include "emulator/hopper_wgmma.h"
#include "emulator/internal.h"
#include "emulator/race.h"

namespace zo2::emu {
namespace {

constexpr int kMostArrivals = (1 << 20) - 1;
constexpr uint64_t kFirstWord = 0x6d62617272696572;
constexpr size_t kTileRowBytes = 128;
constexpr size_t kChunkBytes = 16;
constexpr size_t kTileAlignment = 1024;

struct Waiter {
  Thread* thread;
  int parity;
};

struct BarrierState {
  int count = 0;      // arrivals of a phase
  int pending = 0;    // of them, those still to come in this phase
  int64_t bytes = 0;  // announced and not landed
  int phase = 0;      // parity of the current phase
  uint64_t word = kFirstWord;
  race::Clock gathering;  // of those who have arrived in this phase
  race::Clock published;  // of all phases that ended
  std::vector<Waiter> waiters;
};

// What stands in a CUtensorMap.
struct TileMap {
  const char* base;
  int64_t rows;
  int64_t columns;
  int64_t stride;
  int element_bytes;
  int box_rows;
  uint64_t signature;
};
constexpr uint64_t kTileMap = 0x7a6f32746d61706d;
static_assert(sizeof(TileMap) <= 128, "a CUtensorMap has 128 bytes");

struct Load {
  Block* block;
  char* shared;
  TileMap map;
  int row;
  int column;
  void* barrier;
  Thread* issuer;
  uint32_t issued;    // the issuer's clock then
  race::Clock clock;  // what it knew then
  Where where;
};

std::map<void*, BarrierState>& barriers() {
  static std::map<void*, BarrierState>& only = *new std::map<void*, BarrierState>;
  return only;
}

std::vector<Load>& loads() {
  static std::vector<Load>& only = *new std::vector<Load>;
  return only;
}

// The state of a barrier that the running thread uses.
BarrierState& use(void* barrier, const char* what, Where where) {
  touch(barrier, sizeof(uint64_t), true, true, where);
  const auto found = barriers().find(barrier);
  if (found == barriers().end()) {
    fail("mbarrier", where, "%s on a barrier that was never initialised", what);
  }
  BarrierState& state = found->second;
  if (std::memcmp(barrier, &state.word, sizeof state.word) != 0) {
    fail("mbarrier", where, "%s on a barrier that something has written over", what);
  }
  state.word++;
  std::memcpy(barrier, &state.word, sizeof state.word);
  return state;
}

void join(race::Clock& clock, const race::Clock& other) {
  clock.resize(std::max(clock.size(), other.size()), 0);
  for (size_t i = 0; i < other.size(); i++) {
    clock[i] = std::max(clock[i], other[i]);
  }
}

void end_phase_if_complete(BarrierState& state) {
  if (state.pending > 0 || state.bytes != 0) {
    return;
  }
  state.phase ^= 1;
  state.pending = state.count;
  join(state.published, state.gathering);
  state.gathering.clear();
  auto& waiters = state.waiters;
  for (const Waiter& waiter : waiters) {
    if (waiter.parity != state.phase) {
      wake(waiter.thread);
    }
  }
  waiters.erase(std::remove_if(waiters.begin(), waiters.end(),
                               [&](const Waiter& waiter) { return waiter.parity != state.phase; }),
                waiters.end());
}

// Elements of the tile's row `r` that the matrix has.
int64_t columns_inside(const TileMap& map, int row, int column) {
  const int64_t box = static_cast<int64_t>(kTileRowBytes) / map.element_bytes;
  if (row < 0 || row >= map.rows || column >= map.columns || column + box <= 0) {
    return 0;
  }
  return std::min<int64_t>(column + box, map.columns) - std::max<int64_t>(column, 0);
}

const char* first_inside(const TileMap& map, int row, int column) {
  return map.base + (row * map.stride + std::max(column, 0)) * map.element_bytes;
}

void land(const Load& load) {
  const TileMap& map = load.map;
  for (int r = 0; r < map.box_rows; r++) {
    char line[kTileRowBytes] = {};
    const int row = load.row + r;
    const int64_t inside = columns_inside(map, row, load.column);
    if (inside > 0) {
      const int64_t skipped = std::max(-load.column, 0);
      std::memcpy(line + skipped * map.element_bytes, first_inside(map, row, load.column), inside * map.element_bytes);
    }
    for (size_t chunk = 0; chunk < kTileRowBytes / kChunkBytes; chunk++) {
      std::memcpy(load.shared + r * kTileRowBytes + (chunk ^ (r & 7)) * kChunkBytes, line + chunk * kChunkBytes,
                  kChunkBytes);
    }
  }
  if (kRace) {
    race::write_has_landed(*load.issuer, load.shared, map.box_rows * kTileRowBytes, load.issued);
  }
  const auto found = barriers().find(load.barrier);
  if (found != barriers().end()) {
    BarrierState& state = found->second;
    join(state.gathering, load.clock);
    state.bytes -= static_cast<int64_t>(map.box_rows) * kTileRowBytes;
    end_phase_if_complete(state);
  }
}

bool step(uint64_t random) {
  std::vector<Load>& all = loads();
  if (all.empty()) {
    return false;
  }
  const auto chosen = all.begin() + random % all.size();
  const Load load = std::move(*chosen);
  all.erase(chosen);
  land(load);
  return true;
}

bool belongs(const void* address, const Block& block) {
  return static_cast<const char*>(address) >= block.shared &&
         static_cast<const char*>(address) < block.shared + kSharedRegion;
}

void block_end(Block& block) {
  std::vector<Load>& all = loads();
  for (const Load& load : all) {
    if (load.block == &block) {
      report("tma", load.where, "the block ends while this tile is still under way: nothing waited for it");
      break;
    }
  }
  all.erase(std::remove_if(all.begin(), all.end(), [&](const Load& load) { return load.block == &block; }), all.end());
  for (auto i = barriers().begin(); i != barriers().end();) {
    i = belongs(i->first, block) ? barriers().erase(i) : std::next(i);
  }
  wgmma_block_ends(block);
}

void launch_end(bool) {
  loads().clear();
  barriers().clear();
  wgmma_forget();
}

[[maybe_unused]] const bool engine_is_set = (set_async_engine({step, block_end, launch_end}), true);

}  // namespace

void mbarrier_init(void* barrier, int count, Where where) {
  touch(barrier, sizeof(uint64_t), true, false, where);
  if (!belongs(barrier, *current->block) || reinterpret_cast<uintptr_t>(barrier) % sizeof(uint64_t) != 0) {
    fail("mbarrier", where, "barrier %p is not 8-byte aligned shared memory", barrier);
  }
  if (count < 1 || count > kMostArrivals) {
    fail("mbarrier", where, "%d arrivals; a barrier counts 1 to %d", count, kMostArrivals);
  }
  BarrierState& state = barriers()[barrier] = BarrierState();
  state.count = state.pending = count;
  std::memcpy(barrier, &state.word, sizeof state.word);
}

void mbarrier_arrive(void* barrier, int bytes, Where where) {
  BarrierState& state = use(barrier, "an arrival", where);
  if (state.pending == 0) {
    fail("mbarrier", where, "more than %d arrivals in one phase", state.count);
  }
  if (bytes < 0 || state.bytes + bytes > kMostArrivals) {
    fail("mbarrier", where, "%d more bytes announced; a phase counts up to %d", bytes, kMostArrivals);
  }
  if (kRace) {
    race::release(state.gathering, *current);
  }
  state.bytes += bytes;
  state.pending--;
  end_phase_if_complete(state);
  maybe_yield();
}

void mbarrier_wait(void* barrier, int parity, Where where) {
  BarrierState& state = use(barrier, "a wait", where);
  if (parity != 0 && parity != 1) {
    fail("mbarrier", where, "parity %d; 0 and 1 name phases", parity);
  }
  if (state.phase == parity) {
    state.waiters.push_back({current, parity});
    sleep_until_woken("mbarrier_wait", where);
  }
  if (kRace) {
    race::acquire(*current, state.published);
  }
}

bool mbarrier_try_wait(void* barrier, int parity, Where where) {
  mbarrier_wait(barrier, parity, where);
  return true;
}

void tma_describe(void* map, const void* base, int64_t rows, int64_t columns, int64_t stride, int element_bytes,
                  int box_rows) {
  const TileMap tile{static_cast<const char*>(base), rows, columns, stride, element_bytes, box_rows, kTileMap};
  std::memcpy(map, &tile, sizeof tile);
}

void tma_load_2d(void* shared, const void* map, void* barrier, int row, int column, Where where) {
  TileMap tile;
  std::memcpy(&tile, map, sizeof tile);
  if (tile.signature != kTileMap) {
    fail("tma", where, "the tensor map is none that tma_describe made");
  }
  const size_t bytes = tile.box_rows * kTileRowBytes;
  if (!belongs(shared, *current->block) ||
      (static_cast<char*>(shared) - current->block->shared) % kTileAlignment != 0) {
    fail("misaligned", where, "tile at %p: it must lie at a multiple of %zu bytes of shared memory", shared,
         kTileAlignment);
  }
  use(barrier, "a copy", where);
  touch(shared, bytes, true, false, where);
  for (int r = 0; r < tile.box_rows; r++) {
    if (const int64_t inside = columns_inside(tile, row + r, column); inside > 0) {
      touch(first_inside(tile, row + r, column), inside * tile.element_bytes, false, false, where);
    }
  }
  std::memset(shared, 0xff, bytes);
  loads().push_back({current->block,
                     static_cast<char*>(shared),
                     tile,
                     row,
                     column,
                     barrier,
                     current,
                     current->race.clock,
                     {},
                     where});
  if (kRace) {
    race::write_is_under_way(*current, shared, bytes);
    race::release(loads().back().clock, *current);
  }
}

}  // namespace zo2::emu
