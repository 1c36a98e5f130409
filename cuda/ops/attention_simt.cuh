// attention in fp32 throughout, for operands of any float dtypes, alignments and head sizes up to 256.
#pragma once

#include "cuda/ops/attention.cuh"

namespace zo2::cuda {

// For what attention_unsupported does not refuse; see launch_attention.
cudaError_t launch_attention_simt(const Launch& launch, const AttentionArgs& args);

}  // namespace zo2::cuda
