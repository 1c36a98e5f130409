// How a check kernel reports a fault: device functions for kernels of one block, shared by check.cu, gather.cu and
// loss.cu.
//
// A check kernel looks at every row of a table and raises the faulty row with the smallest index, whichever thread
// found it first. It reads `raised` before its first barrier and writes it behind its last one, so that all its threads
// agree on whether there is something to do.
#pragma once

#include "cuda/kernel.h"
#include "cuda/launch.h"

namespace zo2::cuda {

constexpr int kCheckThreads = 256;
constexpr uint64_t kNoFault = ~uint64_t{0};

// Where a fault goes: what a check kernel needs of Launch.
struct FaultTarget {
  FaultSlot* slot;
  FaultSlot* mirror;
  uint64_t command;
};

inline FaultTarget fault_target(const Launch& launch) { return {launch.slot, launch.mirror, launch.command}; }

// True when an earlier command of the stream failed: the caller returns at once.
__device__ inline bool already_raised(const FaultTarget& target) { return target.slot->raised != 0; }

// Checkpoints of other streams read this word at any time (checkpoint.cu): one atomic word tells them whether, and by
// which command.
__device__ inline void set_command(FaultSlot& slot, uint64_t command) {
  atomicExch(reinterpret_cast<unsigned long long*>(&slot.command), static_cast<unsigned long long>(command));
}

// Called by one thread, behind a barrier that every thread has passed after already_raised. The flag is written last,
// so that whoever sees it sees the fault.
__device__ inline void raise(const FaultTarget& target, const contract::Fault& fault) {
  target.slot->fault = fault;
  set_command(*target.slot, target.command);
  target.mirror->fault = fault;
  target.mirror->command = target.command;
  __threadfence_system();
  target.slot->raised = 1;
  target.mirror->raised = 1;
}

// True for the one thread whose `mine` is the smallest of the block and not kNoFault. All threads call it; no two have
// the same index.
__device__ inline bool is_first_of_block(uint64_t mine) {
  ZO2_SHARED_STATIC(unsigned long long, first);
  if (threadIdx.x == 0) first = kNoFault;
  if (__syncthreads_or(mine != kNoFault ? 1 : 0) == 0) return false;
  if (mine != kNoFault) atomicMin(&first, static_cast<unsigned long long>(mine));
  __syncthreads();
  return mine != kNoFault && first == mine;
}

// Raises the first fault of rows 0 .. count - 1. `check(i, &fault)` looks at row i; it returns false when that is right
// and otherwise fills `fault`. Returns whether there was a fault, the same to all threads. Called once per kernel.
template <class Check>
__device__ inline void check_rows(const FaultTarget& target, uint64_t count, const Check& check) {
  uint64_t mine = kNoFault;
  contract::Fault fault = {};
  for (uint64_t i = threadIdx.x; i < count && mine == kNoFault; i += kCheckThreads) {
    if (check(i, &fault)) mine = i;
  }
  if (is_first_of_block(mine)) raise(target, fault);
}

}  // namespace zo2::cuda
