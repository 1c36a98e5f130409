// Sums over a team of threads in a fixed order. Every thread of the team gets the same bits.
#pragma once

#include "cuda/kernel.h"

namespace zo2::cuda {

// All 32 lanes call it together.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// All threads of a block of whole warps call it together; `partial` is shared memory for one float a warp, up to 32.
// Callable again at once with the same memory.
__device__ inline float block_sum(float x, float (&partial)[32]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warps = static_cast<int>(blockDim.x) / 32;
  x = warp_sum(x);
  __syncthreads();  // the previous sum has been read by all
  if (lane == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

}  // namespace zo2::cuda
