// A stream that waits for a word which the host writes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace zo2::cuda {

// Makes the stream wait until *word, in pinned memory, is at least `value`. False when this driver or device cannot, as
// the emulator cannot: a host function must wait then.
bool wait_for_word(cudaStream_t stream, uint32_t* word, uint32_t value);

}  // namespace zo2::cuda
