// Barriers of a block: __syncthreads and its reductions, and the hardware's numbered ones.
#include "emulator/device.h"
#include "emulator/hooks.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

int reduce(const Barrier& barrier) {
  switch (barrier.kind) {
    case kBarrierOr:
      return barrier.trues > 0;
    case kBarrierAnd:
      return barrier.trues == barrier.expected;
    case kBarrierCount:
      return barrier.trues;
    default:
      return 0;
  }
}

void begin(Barrier& barrier, int expected, int kind, Where where) {
  barrier.expected = expected;
  barrier.kind = kind;
  barrier.trues = 0;
  barrier.where = where;
}

void check_same(const Barrier& barrier, int id, int expected, int kind, Where where) {
  if (id == 0 && !(barrier.where == where)) {
    fail("synccheck", where, "threads of one block meet at different barriers: here and at %s:%d", barrier.where.file,
         barrier.where.line);
  }
  if (barrier.expected != expected || barrier.kind != kind) {
    fail("synccheck", where, "barrier %d is for %d threads here, for %d at %s:%d", id, expected, barrier.expected,
         barrier.where.file, barrier.where.line);
  }
}

void release(Barrier& barrier) {
  const int result = reduce(barrier);
  if constexpr (kRace) hooks::joined(barrier.arrivals.data(), barrier.arrivals.size());
  for (Thread* thread : barrier.arrivals) {
    if (thread->sleeps_on != &barrier) continue;  // it only arrived
    thread->sleeps_on = nullptr;
    thread->reduced = result;
    wake(thread);
  }
  current->reduced = result;
  barrier.arrivals.clear();
  barrier.arrived = 0;
}

}  // namespace

int barrier(int id, int threads, bool wait, int kind, int predicate, Where where) {
  Thread& me = *current;
  Block& block = *me.block;
  if (id < 0 || id >= kNamedBarriers)
    fail("synccheck", where, "barrier %d does not exist; they are 0 to %d", id, kNamedBarriers - 1);
  const int all = threads_per_block();
  const int expected = threads == 0 ? all : threads;
  if (threads != 0 && (threads % kLanes != 0 || threads > all)) {
    fail("synccheck", where, "barrier %d is for %d threads: a multiple of %d up to the block's %d is needed", id,
         threads, kLanes, all);
  }
  maybe_yield();
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) {
    begin(barrier, expected, kind, where);
  } else {
    check_same(barrier, id, expected, kind, where);
  }
  barrier.arrivals.push_back(&me);
  barrier.trues += predicate != 0;
  if (++barrier.arrived == barrier.expected) {
    release(barrier);
    return me.reduced;
  }
  if (barrier.arrived == block.live && expected == all) {
    fail("synccheck", where, "%d threads of the block wait in this barrier, the other %d have returned",
         barrier.arrived, all - block.live);
  }
  if (!wait) return 0;
  me.sleeps_on = &barrier;
  sleep_until_woken(id == 0 ? "__syncthreads" : "a named barrier", where);
  return me.reduced;
}

void sync_block(Where where) { barrier(0, 0, true, kPlainBarrier, 0, where); }

int vote_block(BlockVote vote, int predicate, Where where) {
  const int kind = vote == BlockVote::kOr ? kBarrierOr : vote == BlockVote::kAnd ? kBarrierAnd : kBarrierCount;
  return barrier(0, 0, true, kind, predicate, where);
}

}  // namespace zo2::emu
