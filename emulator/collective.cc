// Warp collectives: shuffles, votes, __syncwarp, and the meeting of lanes under all of them.
#include <cstring>

#include "emulator/device.h"
#include "emulator/hooks.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

const char* name_of(int kind) {
  switch (kind) {
    case kSyncWarp:
      return "__syncwarp";
    case kShuffle:
      return "a shuffle";
    case kBallot:
      return "a vote";
    case kLoadMatrix:
      return "ldmatrix";
    case kMultiply:
    case kMultiply + 1:
    case kMultiply + 2:
      return "mma";
    default:
      return "a warpgroup operation";
  }
}

// The collective that the running lane takes part in: one under way with its mask, or a new one.
Collective& join(Warp& warp, uint32_t mask, int kind, Where where) {
  Collective* free = nullptr;
  for (Collective& pending : warp.collectives) {
    if (pending.arrived == 0) {
      if (free == nullptr) free = &pending;
      continue;
    }
    if ((pending.mask & mask) == 0) continue;
    if (pending.mask != mask) {
      fail("synccheck", where, "mask %08x overlaps mask %08x of %s under way at %s:%d", mask, pending.mask,
           name_of(pending.kind), pending.where.file, pending.where.line);
    }
    if (pending.kind != kind) {
      fail("synccheck", where, "lanes of mask %08x meet in different operations: %s here, %s at %s:%d", mask,
           name_of(kind), name_of(pending.kind), pending.where.file, pending.where.line);
    }
    return pending;
  }
  if (free == nullptr) fail("synccheck", where, "more than %d operations of one warp are under way", kCollectives);
  free->mask = mask;
  free->kind = kind;
  free->where = where;
  free->warp = &warp;
  return *free;
}

void check_mask(const Warp& warp, uint32_t mask, Where where) {
  if ((mask >> current->lane & 1) == 0)
    fail("synccheck", where, "lane %d is not in the mask %08x that it passes", current->lane, mask);
  if ((mask & ~warp.exists) != 0)
    fail("synccheck", where, "mask %08x names lanes that the block does not have (it has %08x)", mask, warp.exists);
  if ((mask & warp.exited) != 0)
    fail("synccheck", where, "mask %08x names lanes that have returned (%08x)", mask, warp.exited);
}

void order_memory(const Warp& warp, uint32_t mask) {
  Thread* threads[kLanes];
  size_t count = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if (mask >> lane & 1) threads[count++] = warp.threads[lane];
  }
  hooks::joined(threads, count);
}

struct ShuffleInput {
  const void* value;
  int source;
  size_t bytes;
};

void complete_shuffle(Collective& all) {
  for (uint32_t left = all.mask; left != 0; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const ShuffleInput& mine = *static_cast<const ShuffleInput*>(all.in[lane]);
    if ((all.mask >> mine.source & 1) == 0) {
      fail("synccheck", all.where, "lane %d reads lane %d in a shuffle, which is not in the mask %08x", lane,
           mine.source, all.mask);
    }
    const void* value = static_cast<const ShuffleInput*>(all.in[mine.source])->value;
    if (mine.bytes == 4) {
      memcpy(all.out[lane], value, 4);
    } else {
      memcpy(all.out[lane], value, mine.bytes);
    }
  }
}

void complete_ballot(Collective& all) {
  uint32_t votes = 0;
  for (uint32_t left = all.mask; left != 0; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    if (*static_cast<const int*>(all.in[lane]) != 0) votes |= 1u << lane;
  }
  for (uint32_t left = all.mask; left != 0; left &= left - 1)
    *static_cast<uint32_t*>(all.out[__builtin_ctz(left)]) = votes;
}

int source_lane(Shuffle kind, int argument, int width) {
  const int lane = current->lane;
  const int base = lane & ~(width - 1);
  const int within = lane & (width - 1);
  switch (kind) {
    case Shuffle::kIndex:
      return base + (argument & (width - 1));
    case Shuffle::kUp:
      return argument > within ? lane : lane - argument;
    case Shuffle::kDown:
      return within + argument >= width ? lane : lane + argument;
    case Shuffle::kXor:
      return (lane ^ argument) >= base + width ? lane : (lane ^ argument) & (kLanes - 1);
  }
  return lane;
}

}  // namespace

void collective(uint32_t mask, int kind, const void* in, void* out, Complete complete, Where where,
                bool orders_memory) {
  Thread& me = *current;
  Warp& warp = *me.warp;
  const uint32_t bit = 1u << me.lane;
  check_mask(warp, mask, where);
  maybe_yield();
  Collective& all = join(warp, mask, kind, where);
  all.in[me.lane] = in;
  all.out[me.lane] = out;
  all.arrived |= bit;
  if (all.arrived != mask) {
    sleep_until_woken(name_of(kind), where);
    return;
  }
  me.where = where;
  if (complete != nullptr) complete(all);
  if constexpr (kRace) {
    if (orders_memory) order_memory(warp, mask);
  }
  all.arrived = 0;
  set_ready(warp, mask);
}

void sync_warp(uint32_t mask, Where where) { collective(mask, kSyncWarp, nullptr, nullptr, nullptr, where, true); }

uint32_t ballot(uint32_t mask, int predicate, Where where) {
  uint32_t votes = 0;
  collective(mask, kBallot, &predicate, &votes, &complete_ballot, where);
  return votes;
}

void shuffle(Shuffle kind, uint32_t mask, const void* value, void* result, size_t bytes, int argument, int width,
             Where where) {
  if (width < 1 || width > kLanes || (width & (width - 1)) != 0)
    fail("synccheck", where, "a shuffle's width is 1, 2, 4, 8, 16 or 32, not %d", width);
  const ShuffleInput input{value, source_lane(kind, argument, width), bytes};
  collective(mask, kShuffle, &input, result, &complete_shuffle, where);
}

void trap(Where where) { fail("trap", where, "the kernel stopped itself"); }

}  // namespace zo2::emu
