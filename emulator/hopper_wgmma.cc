// Matrix products of a warpgroup. Each warp works on its own 16 rows as a collective; products run when they are waited
// for, the latest that the manual allows, and their registers are NaN until then.
#include "emulator/hopper_wgmma.h"

#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "emulator/hooks.h"
#include "emulator/hopper.h"
#include "emulator/race.h"

#include <cuda_fp16.h>

namespace zo2::emu {
namespace {

constexpr int kRowsPerWarp = 16;
constexpr int kWarpsPerGroup = 4;
constexpr int kDepth = 16;
constexpr int kMostColumns = 256;
constexpr uint64_t kRowBytes = 128;
constexpr uint64_t kChunkBytes = 16;
constexpr uint64_t kGroupBytes = 1024;  // 8 rows
constexpr uint32_t kAllLanes = 0xffffffffu;

enum Kind { kProduct = kFirstHopperKind, kFence, kCommit, kWait };

struct Product {
  float* d;  // lane 0's, as the name of the accumulators
  int columns;
  uint64_t a;
  uint64_t b;
  WgmmaElement element;
  bool accumulate;
  Where where;
};

// Registers that products of a warp write: their values so far, and where they belong.
struct Accumulators {
  int outstanding = 0;
  std::vector<float> values;  // per lane, columns / 2
  float* registers[kLanes];
};

struct WarpState {
  bool fenced = false;
  uint64_t issued = 0;
  std::deque<Product> products;
  std::deque<size_t> groups;  // how many of `products` stood there when each group was committed
  std::map<float*, Accumulators> accumulators;
};

std::map<Warp*, WarpState>& states() {
  static std::map<Warp*, WarpState>& only = *new std::map<Warp*, WarpState>;
  return only;
}

int warp_in_group(const Warp& warp) { return warp.threads[0]->linear / kLanes % kWarpsPerGroup; }

// Byte of the block's shared memory at which element (row, column 8 * half) of the described tile lies.
uint64_t chunk_at(uint64_t descriptor, int row, int half) {
  const uint64_t start = (descriptor & 0x3fff) << 4;
  const uint64_t stride = (descriptor >> 32 & 0x3fff) << 4;
  const uint64_t linear = start + row / 8 * stride + row % 8 * kRowBytes + half * kChunkBytes;
  return linear ^ (linear >> 7 & 7) << 4;
}

float widen(uint16_t bits, WgmmaElement element) {
  if (element == WgmmaElement::kF16) {
    return __half2float(__half(__half_raw{bits}));
  }
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

void read_row(const char* shared, uint64_t descriptor, int row, WgmmaElement element, float* values) {
  for (int half = 0; half < 2; half++) {
    uint16_t bits[8];
    std::memcpy(bits, shared + chunk_at(descriptor, row, half), sizeof bits);
    for (int i = 0; i < 8; i++) {
      values[half * 8 + i] = widen(bits[i], element);
    }
  }
}

// Visits every 16 bytes that the warp reads of its operands, as offsets in the block's shared memory.
template <class Visit>
void for_operand_chunks(const Warp& warp, const Product& product, Visit visit) {
  for (int half = 0; half < 2; half++) {
    for (int row = 0; row < product.columns; row++) {
      visit(chunk_at(product.b, row, half));
    }
    for (int row = 0; row < kRowsPerWarp; row++) {
      visit(chunk_at(product.a, warp_in_group(warp) * kRowsPerWarp + row, half));
    }
  }
}

// The tensor cores read for the warp as a whole. The detector takes that for reads of lane 0, when a product is issued
// and again when it is done; whoever has waited knows that they are over.
void note_reads(Warp& warp, const Product& product) {
  for_operand_chunks(warp, product, [&](uint64_t offset) {
    race::access_as(*warp.threads[0], warp.block->shared + offset, kChunkBytes, false, product.where);
  });
}

void note_wait(Warp& warp) {
  race::Clock clock;
  race::release_own(clock, *warp.threads[0]);
  for (int lane = 1; lane < kLanes; lane++) {
    race::acquire(*warp.threads[lane], clock);
  }
}

void multiply(const Warp& warp, const Product& product, Accumulators& accumulators) {
  const char* const shared = warp.block->shared;
  static float a[kRowsPerWarp][kDepth];
  static float b[kDepth][kMostColumns];
  static float sums[kRowsPerWarp][kMostColumns];
  float row[kDepth];
  for (int r = 0; r < kRowsPerWarp; r++) {
    read_row(shared, product.a, warp_in_group(warp) * kRowsPerWarp + r, product.element, a[r]);
  }
  for (int c = 0; c < product.columns; c++) {
    read_row(shared, product.b, c, product.element, row);
    for (int k = 0; k < kDepth; k++) {
      b[k][c] = row[k];
    }
  }
  for (int r = 0; r < kRowsPerWarp; r++) {
    std::memset(sums[r], 0, sizeof sums[r]);
    for (int k = 0; k < kDepth; k++) {
      const float factor = a[r][k];
      for (int c = 0; c < product.columns; c++) {
        sums[r][c] += factor * b[k][c];
      }
    }
  }
  const int each = product.columns / 2;
  for (int lane = 0; lane < kLanes; lane++) {
    for (int i = 0; i < each; i++) {
      const int r = lane / 4 + (i & 2 ? 8 : 0);
      const int c = i / 4 * 8 + lane % 4 * 2 + (i & 1);
      float& value = accumulators.values[lane * each + i];
      value = product.accumulate ? value + sums[r][c] : sums[r][c];
    }
  }
}

void finish(Warp& warp, WarpState& state, const Product& product) {
  if (kRace) {
    note_reads(warp, product);
  }
  Accumulators& accumulators = state.accumulators[product.d];
  multiply(warp, product, accumulators);
  if (--accumulators.outstanding == 0) {
    const size_t each = product.columns / 2;
    for (int lane = 0; lane < kLanes; lane++) {
      std::memcpy(accumulators.registers[lane], &accumulators.values[lane * each], each * sizeof(float));
    }
    state.accumulators.erase(product.d);
  }
}

// The last lane of the warp has arrived: `in` holds each lane's Product, `out` its registers.
void issue(Collective& meeting) {
  Warp& warp = *meeting.warp;
  WarpState& state = states()[&warp];
  const Product& product = *static_cast<const Product*>(meeting.in[0]);
  for (int lane = 1; lane < kLanes; lane++) {
    const Product& other = *static_cast<const Product*>(meeting.in[lane]);
    if (other.a != product.a || other.b != product.b || other.columns != product.columns ||
        other.accumulate != product.accumulate) {
      report("wgmma", meeting.where, "lanes of one warp name different operands");
      return;
    }
  }
  if (!state.fenced) {
    report("wgmma", meeting.where, "no wgmma_fence stands before this group's first product");
    return;
  }
  if (kRace) {
    note_reads(warp, product);
  }
  const size_t each = product.columns / 2;
  Accumulators& accumulators = state.accumulators[product.d];
  if (accumulators.outstanding++ == 0) {
    accumulators.values.resize(kLanes * each);
    for (int lane = 0; lane < kLanes; lane++) {
      accumulators.registers[lane] = static_cast<float*>(meeting.out[lane]);
      std::memcpy(&accumulators.values[lane * each], meeting.out[lane], each * sizeof(float));
    }
  }
  for (int lane = 0; lane < kLanes; lane++) {
    std::memset(meeting.out[lane], 0xff, each * sizeof(float));
  }
  state.products.push_back(product);
  state.issued++;
}

void commit(Collective& meeting) {
  WarpState& state = states()[meeting.warp];
  state.groups.push_back(state.products.size());
  state.fenced = false;
}

void wait(Collective& meeting) {
  WarpState& state = states()[meeting.warp];
  const int running = *static_cast<const int*>(meeting.in[0]);
  while (state.groups.size() > static_cast<size_t>(running)) {
    const size_t count = state.groups.front();
    for (size_t i = 0; i < count; i++) {
      const Product product = state.products.front();
      state.products.pop_front();
      finish(*meeting.warp, state, product);
    }
    state.groups.pop_front();
    for (size_t& later : state.groups) {
      later -= count;
    }
  }
  if (kRace) {
    note_wait(*meeting.warp);
  }
}

void check_descriptor(uint64_t descriptor, const char* name, Where where) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0 || ((descriptor >> 32 & 0x3fff) << 4) != kGroupBytes) {
    fail("wgmma", where, "descriptor 0x%llx of %s is none that wgmma_descriptor made",
         static_cast<unsigned long long>(descriptor), name);
  }
}

}  // namespace

uint64_t wgmma_descriptor(const void* tile, Where where) {
  const int64_t offset = static_cast<const char*>(tile) - current->block->shared;
  if (offset < 0 || offset >= static_cast<int64_t>(kSharedRegion) || offset % kGroupBytes != 0) {
    fail("misaligned", where, "tile at %p: it must lie at a multiple of %d bytes of shared memory", tile,
         static_cast<int>(kGroupBytes));
  }
  return (static_cast<uint64_t>(offset) & 0x3ffff) >> 4 | uint64_t{1} << 16 | kGroupBytes >> 4 << 32 |
         uint64_t{1} << 62;
}

void wgmma_fence(Where where) {
  collective(
      kAllLanes, kFence, nullptr, nullptr, [](Collective& meeting) { states()[meeting.warp].fenced = true; }, where);
}

void wgmma(float* d, int n, uint64_t a, uint64_t b, WgmmaElement element, bool accumulate, Where where) {
  check_descriptor(a, "a", where);
  check_descriptor(b, "b", where);
  if (threads_per_block() < (current->linear / 128 + 1) * 128) {
    fail("wgmma", where, "a block of %d threads has no whole warpgroup here", threads_per_block());
  }
  const Product product{d, n, a, b, element, accumulate, where};
  if (current->lane == 0 && !kRace) {
    for_operand_chunks(*current->warp, product, [&](uint64_t offset) {
      touch(current->block->shared + offset, kChunkBytes, false, false, where);
    });
  }
  collective(kAllLanes, kProduct, &product, d, issue, where);
}

void wgmma_commit(Where where) { collective(kAllLanes, kCommit, nullptr, nullptr, commit, where); }

void wgmma_wait(int running, Where where) { collective(kAllLanes, kWait, &running, nullptr, wait, where); }

void wgmma_block_ends(Block& block) {
  // Of the warps of one warpgroup, by its number.
  std::map<int, std::pair<int, uint64_t>> groups;
  for (auto i = states().begin(); i != states().end();) {
    auto& [warp, state] = *i;
    if (warp->block != &block) {
      ++i;
      continue;
    }
    if (!state.products.empty()) {
      report("wgmma", state.products.front().where, "the block ends, and nothing has waited for this product");
    }
    auto& [warps, issued] =
        groups.try_emplace(warp->threads[0]->linear / (kLanes * kWarpsPerGroup), 0, state.issued).first->second;
    warps++;
    if (issued != state.issued) {
      report("wgmma", {"warpgroup", 0}, "warps of one warpgroup have issued %llu and %llu products",
             static_cast<unsigned long long>(issued), static_cast<unsigned long long>(state.issued));
    }
    i = states().erase(i);
  }
  for (const auto& [group, state] : groups) {
    if (state.first != kWarpsPerGroup && state.second != 0) {
      report("wgmma", {"warpgroup", group}, "only %d warps of a warpgroup have issued products", state.first);
    }
  }
}

void wgmma_forget() { states().clear(); }

}  // namespace zo2::emu
