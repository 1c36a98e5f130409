// attention on tensor cores: mma.sync, fp32 sums, probabilities rounded to the dtype of v.
#pragma once

#include "cuda/ops/attention.cuh"

namespace zo2::cuda {

// q, k and v are of one 16-bit dtype with every row aligned to 16 bytes, and heads are 16 to 256 wide in steps of 16.
bool attention_mma_accepts(const AttentionArgs& args);

// For what attention_mma_accepts; see launch_attention.
cudaError_t launch_attention_mma(const Launch& launch, const AttentionArgs& args);

}  // namespace zo2::cuda
