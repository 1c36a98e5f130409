// A value that the compiler knows nothing about. What is computed from it inside a loop is computed in every round, and
// not once before the loop, where it would hold a register throughout.
#pragma once

#include "cuda/kernel.h"

namespace zo2::cuda {

__device__ inline int opaque(int x) {
#if !ZO2_EMULATED
  asm volatile("" : "+r"(x));
#endif
  return x;
}

}  // namespace zo2::cuda
