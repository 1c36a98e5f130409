// attention: causal attention over packed sequences with an online softmax (Dao et al. 2022, "FlashAttention"; Milakov
// and Gimelshein 2018, "Online normalizer calculation for softmax"): no matrix of length x length exists in memory.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// q, out: [M, heads * d]; k, v: [K, kv_heads * d]; F32, F16 or BF16 each; kv_heads divides heads, and query head h
// reads key head h / (heads / kv_heads). sequences: int32 [S, 4] or [S, 5] = start, length (rows of q), prefixStart,
// prefixLength, keyStart (rows of k and v; with four columns start), already checked (check.cuh:
// launch_check_sequences). Positions count from the start of the prefix: row start + i and its key keyStart + i are at
// prefixLength + i; a row attends to the keys at positions up to its own and, with a window, beyond position - window.
// window 0: none. Rows outside every sequence are left as they are. out may be q's own matrix.
struct AttentionArgs {
  Matrix out, q, k, v, sequences;
  int64_t heads, kv_heads;
  float scale;  // of the scores, before the softmax
  int64_t window;

  __host__ __device__ int64_t head_size() const { return q.cols / heads; }
};

// of q and of k; positions, of twice as many at most, stay far below 2^31
constexpr int64_t kMostAttentionRows = int64_t{1} << 29;

// Null when launch_attention takes such operands; otherwise what it takes. Looks at heads and the shapes of q and k
// only.
const char* attention_unsupported(const AttentionArgs& args);

// The result is that of the launch. Nothing is launched when there is no row or no sequence. The same operands give the
// same bits.
cudaError_t launch_attention(const Launch& launch, const AttentionArgs& args);

}  // namespace zo2::cuda
