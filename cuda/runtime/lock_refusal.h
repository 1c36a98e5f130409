// What to say where host memory cannot be locked: which call, what it said, and what of the host is in the way.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "contract/host.h"

namespace zo2::cuda {

struct LockFacts {
  uint64_t bytes;         // that were asked for
  contract::Host host;    // at that time
  bool wsl;               // Windows has the memory, and gives some of it
  uint64_t lock_limit;    // RLIMIT_MEMLOCK; ~0: none
  bool lock_limit_holds;  // mlock of the same bytes was refused too
};

// mapped: `bytes` of pages of ours that were to be locked, or null.
LockFacts lock_facts(uint64_t bytes, const void* mapped);

// Why they cannot be locked as far as the facts show it, and what to do.
std::string why_not_locked(const LockFacts& facts);

// "cudaHostRegister said: out of memory (cudaErrorMemoryAllocation)".
std::string said(const char* call, cudaError_t status);

}  // namespace zo2::cuda
