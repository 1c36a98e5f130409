// Sticky flags (zo2_sticky): the step is that of the first command or update that raised one.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"

namespace zo2::cuda {

// Any number of threads may raise flags of one step at once.
__device__ inline void raise_sticky(zo2_sticky* sticky, uint32_t flags, uint32_t step) {
  if (atomicOr(&sticky->flags, flags) == 0) sticky->step = step;
}

}  // namespace zo2::cuda
