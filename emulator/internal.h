// What the parts of the emulator know of each other; kernels never include this. A CUDA thread is a fiber; everything
// runs on one host thread at a time, the executor, which holds the runtime's lock (runtime_lock() in streams.h) for as
// long as a launch lasts.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/where.h"

namespace zo2::emu {

constexpr int kLanes = 32;
constexpr int kNamedBarriers = 16;           // hardware's number; 0 is __syncthreads
constexpr int kCollectives = 4;              // that may be in flight in one warp, with disjoint masks
constexpr size_t kSharedRegion = 256 << 10;  // address space of one block's shared memory
constexpr int kMaxThreadsPerBlock = 1024;

struct Barrier;
struct Block;
struct Warp;

// cp.async that was issued and not yet waited for.
struct AsyncCopy {
  void* destination;
  const void* source;
  uint32_t bytes;  // read from source; the rest up to 16 becomes zero
  Where where;
};

struct Thread {
  void* stack_pointer = nullptr;
  Warp* warp = nullptr;
  Block* block = nullptr;
  uint3 index{};  // threadIdx
  int lane = 0;
  int linear = 0;  // within its block
  int slot = 0;    // among all resident threads: block->slot * threads of a block + linear
  bool exited = false;
  const Barrier* sleeps_on = nullptr;
  int reduced = 0;                 // what a barrier with a reduction gives this thread
  const char* waits_in = nullptr;  // name of what it waits in, and where; for reports
  Where where{nullptr, 0};
  std::vector<AsyncCopy> copies;
  std::vector<uint32_t> copy_groups;  // number of copies that were outstanding when each group was committed
  char* stack_low = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
  struct {
    uint32_t clock = 1;
    void* known = nullptr;
  } race;  // for the race detector alone
};

// One operation that lanes of a warp execute together. The last lane to arrive completes it for all.
struct Collective {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  int kind = 0;
  Where where{nullptr, 0};
  Warp* warp = nullptr;
  const void* in[kLanes];
  void* out[kLanes];
};

struct Warp {
  uint32_t ready = 0;   // lanes that can run
  uint32_t exists = 0;  // lanes that the block has
  uint32_t exited = 0;
  int number = 0;  // among all resident warps
  Block* block = nullptr;
  Thread* threads[kLanes] = {};
  Collective collectives[kCollectives];
};

struct Barrier {
  int arrived = 0;
  int expected = 0;
  int kind = 0;   // a BarrierKind
  int trues = 0;  // predicates that were not 0
  Where where{nullptr, 0};
  std::vector<Thread*> arrivals;
};

// A range of a block's shared memory, in bytes from Block::shared. `key` is 0 for the dynamic one.
struct SharedRange {
  const void* key;
  size_t offset;
  size_t bytes;
};

struct Block {
  uint3 index{};  // blockIdx
  uint64_t linear = 0;
  int slot = 0;            // among the resident blocks
  int live = 0;            // threads that have not returned
  char* shared = nullptr;  // kSharedRegion bytes, of which `ranges` exist
  size_t shared_used = 0;
  std::vector<SharedRange> ranges;
  Barrier barriers[kNamedBarriers];
};

struct Launch {
  const char* name;
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  void (*invoke)(void*);  // runs the kernel once, for the thread that runs
  void* arguments;        // the launch's own copy
  size_t arguments_size;  // including bookkeeping that `invoke` reads
  uint64_t op;            // number of the operation, as in hooks.h
};

// ---- the running thread and launch

// The CUDA thread that runs on this host thread; null outside of kernels.
// __thread rather than thread_local: no wrapper that might initialise it stands before each access.
extern __thread Thread* current __attribute__((tls_model("initial-exec")));
// The launch under way (null when none is); one at a time, all of its threads on one host thread.
extern const Launch* current_launch;
// All resident threads, in slot order; valid during a launch.
Thread* const* resident_threads();
int resident_thread_count();
int threads_per_block();

// Whether an address lies in any resident block's shared memory, or in a fiber's stack.
bool in_shared(const void* address);
bool in_fiber_stack(const void* address);
// The range of `block`'s shared memory that holds all of [address, address + bytes), or null.
const SharedRange* find_shared(const Block& block, const void* address, size_t bytes);

// ---- failures (report.cc)

// Prints `EMU[kind] file:line: text` to standard error, keeps it for zo2_emu_last_report, and fails the launch or
// operation under way. Returns: the caller decides whether going on makes sense.
void report(const char* kind, Where where, const char* format, ...) __attribute__((format(printf, 3, 4)));
// report, then gives the launch up. Only where `current` is not null.
[[noreturn]] void fail(const char* kind, Where where, const char* format, ...) __attribute__((format(printf, 3, 4)));
// Gives the launch under way up without a report of its own. Only where `current` is not null.
[[noreturn]] void abandon();
uint64_t report_count();

// ---- scheduling (scheduler.cc)

uint64_t random_bits();  // of the seed; the executor's alone
// Puts the running thread to sleep until wake(); others run meanwhile. The launch deadlocks when nobody can wake it.
void sleep_until_woken(const char* waits_in, Where where);
void wake(Thread* thread);
// A point where the random order may run another thread; nothing in the other orders.
void maybe_yield();

// Asynchronous engines (TMA). `step` carries out one outstanding operation, chosen by `random`, and returns whether
// there was one; it is called when no thread can run, and in random order at any time. `block_end` and `launch_end` say
// that nothing of theirs may remain (a report if so, unless `abandoned`).
struct AsyncEngine {
  bool (*step)(uint64_t random);
  void (*block_end)(Block& block);
  void (*launch_end)(bool abandoned);
};
void set_async_engine(const AsyncEngine& engine);

// ---- warp and block operations

using Complete = void (*)(Collective&);
// Kinds of the emulator's own collectives; hopper.cc uses numbers from kFirstHopperKind.
enum CollectiveKind {
  kSyncWarp = 1,
  kShuffle,
  kBallot,
  kLoadMatrix,
  kMultiply = 16 /* + MatrixType */,
  kFirstHopperKind = 64
};
// The running lane and the others of `mask` meet; the last to arrive runs `complete` (on its fiber, with `in` and `out`
// of all lanes). With `orders_memory` (only __syncwarp), what the lanes wrote before is ordered before what any of them
// does after.
void collective(uint32_t mask, int kind, const void* in, void* out, Complete complete, Where where,
                bool orders_memory = false);

enum BarrierKind { kPlainBarrier, kBarrierOr, kBarrierAnd, kBarrierCount };
// bar.sync (wait) or bar.arrive of `threads` threads (0: the whole block) on barrier `id`; the result of the reduction
// for waiters.
int barrier(int id, int threads, bool wait, int kind, int predicate, Where where);

// An instruction of the running thread touches memory: checks bounds (AddressSanitizer, race detector) and order.
void touch(const void* address, size_t bytes, bool write, bool atomic, Where where);

}  // namespace zo2::emu
