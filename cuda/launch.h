// What every launcher of cuda/ops is given besides its own arguments. Included by kernels (nvcc, or g++ under the
// emulator) and by the runtime.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "contract/fault.h"

namespace zo2::cuda {

// What a launcher must know of the device to choose among its kernels.
struct Traits {
  int capability;  // 10 x major + minor: 80, 90, 120
  int multiprocessors;
  int shared_per_block;               // bytes of dynamic shared memory that a block may ask for (opt-in limit)
  bool tf32;                          // fp32 matrix products may round their operands to tf32
  int shared_per_multiprocessor = 0;  // bytes of shared memory, of which each resident block takes 1 KiB for itself
};

// A failure that a kernel found. `raised` and `fault` lie in device memory, `mirror` is their copy in pinned memory,
// which the host reads once the stream has passed; written by check kernels only (check.cuh), the first one wins.
struct FaultSlot {
  uint32_t raised;  // 1 once `fault` is there
  uint32_t reserved;
  // ordinal of the command, as Launch::command; 0 before. Other streams read it while kernels run: written atomically
  uint64_t command;
  contract::Fault fault;
};

struct Launch {
  cudaStream_t stream;
  FaultSlot* slot;    // device memory, one per stream
  FaultSlot* mirror;  // pinned memory, one per stream
  uint64_t command;   // ordinal of the command within its stream, for FaultSlot::command
  const Traits* traits;

  // Every kernel but the check kernels returns at once when this word is not 0. It changes only between kernels of the
  // stream.
  const uint32_t* poison() const { return &slot->raised; }
};

}  // namespace zo2::cuda
