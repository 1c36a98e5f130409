#include "cuda/ops/attention.cuh"

#include "cuda/ops/attention_mma.cuh"
#include "cuda/ops/attention_simt.cuh"

namespace zo2::cuda {

const char* attention_unsupported(const AttentionArgs& args) {
  if (args.head_size() > 256)
    return "attention takes heads of 1 to 256 columns (on tensor cores: multiples of 16, in f16 or bf16)";
  if (args.q.rows > kMostAttentionRows || args.k.rows > kMostAttentionRows)
    return "attention takes up to 536870912 rows";
  return nullptr;
}

cudaError_t launch_attention(const Launch& launch, const AttentionArgs& args) {
  return attention_mma_accepts(args) ? launch_attention_mma(launch, args) : launch_attention_simt(launch, args);
}

}  // namespace zo2::cuda
