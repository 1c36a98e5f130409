#include "emulator/scheduler.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <numeric>

#include "emulator/config.h"
#include "emulator/fault.h"
#include "emulator/fiber.h"
#include "emulator/hooks.h"
#include "emulator/ready_lanes.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

dim3 blockDim;
dim3 gridDim;

namespace zo2::emu {

__thread Thread* current = nullptr;
const Launch* current_launch = nullptr;

namespace {

std::atomic<bool> operation_failed{false};
AsyncEngine async_engine{};

// State of the launch under way, and what the next one uses again.
struct Scheduler {
  Stacks stacks;
  std::vector<std::unique_ptr<Thread>> owned;
  std::vector<Thread*> threads;  // of this launch, by slot
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<std::unique_ptr<Block>> blocks;
  ReadyLanes ready;
  int per_block = 0;
  uint64_t random = 0;

  uint64_t block_count = 0;
  uint64_t next_block = 0;
  uint64_t block_step = 1;  // random order: block i is (start + i * step) mod count
  uint64_t block_start = 0;
  int live_blocks = 0;
  bool abandoned = false;

  void* executor = nullptr;  // its stack pointer while fibers run
  void* executor_fake_stack = nullptr;
};

// Never destroyed: threads of the runtime may still run while the process exits.
Scheduler& scheduler() {
  static Scheduler* instance = new Scheduler;
  return *instance;
}

#if defined(__SANITIZE_ADDRESS__)
struct StackBounds {
  const void* low = nullptr;
  size_t size = 0;
};

const StackBounds& executor_stack() {
  static thread_local StackBounds bounds = [] {
    StackBounds found;
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      void* low;
      pthread_attr_getstack(&attributes, &low, &found.size);
      found.low = low;
      pthread_attr_destroy(&attributes);
    }
    return found;
  }();
  return bounds;
}
#endif

void switch_to(Thread* from, Thread* to) {
  Scheduler& s = scheduler();
#if defined(__SANITIZE_ADDRESS__)
  const StackBounds& executor = executor_stack();
  __sanitizer_start_switch_fiber(from ? &from->fake_stack : &s.executor_fake_stack, to ? to->stack_low : executor.low,
                                 to ? Stacks::size() : executor.size);
#endif
  current = to;
  zo2_emu_switch(from ? &from->stack_pointer : &s.executor, to ? to->stack_pointer : s.executor);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from ? from->fake_stack : s.executor_fake_stack, nullptr, nullptr);
#endif
}

bool step_async() { return async_engine.step != nullptr && async_engine.step(random_bits()); }

Thread* pick() {
  Scheduler& s = scheduler();
  if (config().order == Order::kRandom && random_bits() % 4 == 0) step_async();
  for (;;) {
    if (Thread* thread = s.ready.pick()) return thread;
    if (!step_async()) return nullptr;
  }
}

// Appends to a text of `size` bytes that ends at `length`; no allocation, for the frame that calls is given up.
__attribute__((format(printf, 4, 5))) void append(char* text, size_t size, size_t* length, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int added = vsnprintf(text + *length, size - *length, format, arguments);
  va_end(arguments);
  *length = std::min(size - 1, *length + static_cast<size_t>(std::max(added, 0)));
}

[[noreturn]] void report_deadlock() {
  constexpr int kShown = 4;
  Scheduler& s = scheduler();
  char waiting[600] = "";
  size_t length = 0;
  int waiters = 0;
  int exited = 0;
  for (const Thread* thread : s.threads) {
    if (thread->exited) ++exited;
    if (thread->exited || thread->waits_in == nullptr || waiters++ >= kShown) continue;
    append(waiting, sizeof waiting, &length, "; thread %d of block %llu waits in %s", thread->linear,
           static_cast<unsigned long long>(thread->block->linear), thread->waits_in);
    if (thread->where.file != nullptr)
      append(waiting, sizeof waiting, &length, " at %s:%d", thread->where.file, thread->where.line);
  }
  fail("deadlock", current->where, "no thread can run: %d wait, %d have returned%s", waiters, exited, waiting);
}

uint3 index_in(uint64_t linear, dim3 dims) {
  return {static_cast<unsigned>(linear % dims.x), static_cast<unsigned>(linear / dims.x % dims.y),
          static_cast<unsigned>(linear / dims.x / dims.y)};
}

// The number of the block that starts as the `turn`-th.
uint64_t block_of_turn(const Scheduler& s, uint64_t turn) {
  switch (config().order) {
    case Order::kForward:
      return turn;
    case Order::kReverse:
      return s.block_count - 1 - turn;
    case Order::kRandom:
      return static_cast<uint64_t>((static_cast<unsigned __int128>(turn) * s.block_step + s.block_start) %
                                   s.block_count);
  }
  return turn;
}

void begin_block(Block& block) {
  Scheduler& s = scheduler();
  block.linear = block_of_turn(s, s.next_block++);
  block.index = index_in(block.linear, gridDim);
  block.live = s.per_block;
  for (Barrier& barrier : block.barriers) {
    barrier.arrived = 0;
    barrier.arrivals.clear();
  }
  const int first_warp = block.slot * ((s.per_block + kLanes - 1) / kLanes);
  for (int linear = 0; linear < s.per_block; ++linear) {
    Thread& thread = *s.threads[block.slot * s.per_block + linear];
    thread.exited = false;
    thread.waits_in = nullptr;
    thread.sleeps_on = nullptr;
    thread.where = Where(nullptr, 0);
  }
  for (int number = first_warp; number * kLanes < first_warp * kLanes + s.per_block; ++number) {
    Warp& warp = *s.warps[number];
    warp.exited = 0;
    set_ready(warp, warp.exists);
  }
  begin_shared(block, current_launch->shared_bytes);
  if constexpr (kRace) hooks::block_begins(block);
}

void end_block(Block& block) {
  Scheduler& s = scheduler();
  if (async_engine.block_end != nullptr) async_engine.block_end(block);
  end_shared(block);
  if constexpr (kRace) hooks::block_ends(block);
  if (s.next_block < s.block_count) {
    begin_block(block);
  } else {
    --s.live_blocks;
  }
}

// The running thread has returned from the kernel. Comes back when the thread has a new block to run.
void finish_thread() {
  Scheduler& s = scheduler();
  Thread& me = *current;
  Warp& warp = *me.warp;
  Block& block = *me.block;
  if (!me.copies.empty()) {
    report("cp.async", me.copies.front().where,
           "a thread returns with %zu asynchronous copies that it has not waited for", me.copies.size());
    me.copies.clear();
  }
  me.copy_groups.clear();
  me.exited = true;
  warp.exited |= 1u << me.lane;
  clear_ready(warp, 1u << me.lane);
  for (const Collective& pending : warp.collectives) {
    if (pending.arrived != 0 && (pending.mask >> me.lane & 1) != 0) {
      fail("synccheck", pending.where, "lane %d has returned, but the lanes %08x wait for it here", me.lane,
           pending.arrived);
    }
  }
  if (--block.live > 0) {
    const Barrier& all = block.barriers[0];
    if (all.arrived == block.live && all.arrived > 0) {
      fail("synccheck", all.where, "%d threads of the block wait in this barrier, the other %d have returned",
           all.arrived, s.per_block - block.live);
    }
  } else {
    end_block(block);
    if (s.live_blocks == 0) {
      switch_to(&me, nullptr);
      __builtin_unreachable();
    }
  }
  run_others();
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {
    current_launch->invoke(current_launch->arguments);
    finish_thread();
  }
}

// Gives the launch its threads, warps and blocks, all idle. Returns false when the system gives no stacks.
bool set_up(Scheduler& s, int resident, int per_block) {
  const int warps_per_block = (per_block + kLanes - 1) / kLanes;
  s.per_block = per_block;
  const int warp_count = resident * warps_per_block;
  while (static_cast<int>(s.owned.size()) < resident * per_block) s.owned.push_back(std::make_unique<Thread>());
  while (static_cast<int>(s.warps.size()) < warp_count) s.warps.push_back(std::make_unique<Warp>());
  while (static_cast<int>(s.blocks.size()) < resident) s.blocks.push_back(std::make_unique<Block>());
  s.ready.begin(s.warps, warp_count);
  s.threads.resize(resident * per_block);
  for (int number = 0; number < warp_count; ++number) {
    Warp& warp = *s.warps[number];
    warp.number = number;
    warp.ready = warp.exited = 0;
    warp.block = s.blocks[number / warps_per_block].get();
    const int lanes = std::min(kLanes, per_block - number % warps_per_block * kLanes);
    warp.exists = lanes == kLanes ? 0xffffffffu : (1u << lanes) - 1;
    for (Collective& pending : warp.collectives) pending.arrived = 0;
  }
  for (int slot = 0; slot < resident; ++slot) s.blocks[slot]->slot = slot;
  for (int slot = 0; slot < resident * per_block; ++slot) {
    Thread& thread = *s.owned[slot];
    s.threads[slot] = &thread;
    thread.slot = slot;
    thread.linear = slot % per_block;
    thread.lane = thread.linear % kLanes;
    thread.index = index_in(thread.linear, blockDim);
    thread.block = s.blocks[slot / per_block].get();
    thread.warp = s.warps[slot / per_block * warps_per_block + thread.linear / kLanes].get();
    thread.warp->threads[thread.lane] = &thread;
    thread.copies.clear();
    thread.copy_groups.clear();
    thread.fake_stack = nullptr;
    thread.stack_low = s.stacks.low(slot);
    if (thread.stack_low == nullptr) return false;
#if defined(__SANITIZE_ADDRESS__)
    // No thread returns from finish_thread: the red zones of its frame would stay behind.
    ASAN_UNPOISON_MEMORY_REGION(thread.stack_low, Stacks::size());
#endif
    thread.stack_pointer = make_context(thread.stack_low + Stacks::size(), &fiber_main);
  }
  return true;
}

void choose_block_order(Scheduler& s) {
  s.next_block = 0;
  s.block_start = random_bits() % s.block_count;
  do {
    s.block_step = random_bits() % s.block_count + 1;
  } while (std::gcd(s.block_step, s.block_count) != 1);
}

}  // namespace

Thread* const* resident_threads() { return scheduler().threads.data(); }
int resident_thread_count() { return static_cast<int>(scheduler().threads.size()); }
int threads_per_block() { return scheduler().per_block; }
bool in_fiber_stack(const void* address) { return scheduler().stacks.contains(address); }

uint64_t random_bits() {
  uint64_t& state = scheduler().random;
  if (state == 0) state = config().seed * 0x9e3779b97f4a7c15ull + 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

void set_ready(Warp& warp, uint32_t lanes) { scheduler().ready.set(warp, lanes); }
void clear_ready(Warp& warp, uint32_t lanes) { scheduler().ready.clear(warp, lanes); }

void run_others() {
  Thread* me = current;
  Thread* next = pick();
  if (next == nullptr) report_deadlock();
  if (next != me) switch_to(me, next);
  me->waits_in = nullptr;
}

void sleep_until_woken(const char* waits_in, Where where) {
  current->waits_in = waits_in;
  current->where = where;
  clear_ready(*current->warp, 1u << current->lane);
  run_others();
}

void wake(Thread* thread) { set_ready(*thread->warp, 1u << thread->lane); }

void maybe_yield() {
  if (config().order != Order::kRandom || random_bits() % 4 != 0) return;
  Thread* me = current;
  Thread* next = pick();
  if (next != nullptr && next != me) switch_to(me, next);
}

void set_async_engine(const AsyncEngine& engine) { async_engine = engine; }

void fail_operation() { operation_failed.store(true); }
bool take_failure() { return operation_failed.exchange(false); }

void abandon() {
  scheduler().abandoned = true;
  switch_to(current, nullptr);
  __builtin_unreachable();
}

void run_launch(const Launch& launch) {
  Scheduler& s = scheduler();
  catch_faults();
  blockDim = launch.block;
  gridDim = launch.grid;
  current_launch = &launch;
  s.block_count = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  s.abandoned = false;
  const int per_block = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  const int resident = static_cast<int>(std::min<uint64_t>(s.block_count, config().resident));
  if (!set_up(s, resident, per_block)) {
    report("memory", Where(nullptr, 0), "the system gives no stacks for %d threads of kernel %s", resident * per_block,
           launch.name);
    current_launch = nullptr;
    return;
  }
  choose_block_order(s);
  if constexpr (kRace) hooks::launch_begins(launch);
  s.live_blocks = resident;
  for (int slot = 0; slot < resident; ++slot) begin_block(*s.blocks[slot]);
  switch_to(nullptr, s.ready.pick());
  if (async_engine.launch_end != nullptr) async_engine.launch_end(s.abandoned);
  if constexpr (kRace) hooks::launch_ends(launch, s.abandoned);
  current_launch = nullptr;
}

}  // namespace zo2::emu
