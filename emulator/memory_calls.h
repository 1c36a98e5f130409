// What tests want of the calls that give memory: how many there were, and that one is refused.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace zo2::emu {

// For each call of cudaMalloc, cudaHostAlloc (cudaMallocHost) and cudaHostRegister, with the runtime's lock held:
// counts it. What a test wants it refused with; cudaSuccess: it may go on.
cudaError_t note_memory_call(const char* function);

// Registered ranges of host memory (cudart_memory.cc).
size_t registered_ranges();

}  // namespace zo2::emu
