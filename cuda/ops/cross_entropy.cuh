// The streamed head: log-probabilities of targets without the matrix of logits.
#pragma once

#include <cstddef>

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// One tile of the vocabulary: logits = x[H, K] weight[V, K]^T stand for the entries vocab_start .. vocab_start + V.
//   logprob: F32 [N, 1]; until ZO2_TILE_LAST the target's logit, NaN before its tile was seen; 0 for an ignored target
//   state: F32 [H, 2]: running maximum, sum of exponentials relative to it
//   x, weight: F32, F16 or BF16 each; arithmetic as in linear.cuh
//   targets: I32 [N, 2]: row of x, vocabulary entry; -100 is ignored, entries of other tiles are none of this tile's.
//   The rows of targets that are not ignored were checked before (check.cuh). Rows of x may have any number of targets.
// tile_flags: ZO2_TILE_*. scratch: device memory of at least cross_entropy_scratch_bytes, for this launch alone;
// 16-byte aligned.
struct CrossEntropyArgs {
  Matrix logprob, state, x, weight, targets;
  int64_t vocab_start;
  int tile_flags;
  void* scratch;
  size_t scratch_bytes;
};

// Bytes of scratch that suffice for up to `rows` rows and `vocabulary` entries.
size_t cross_entropy_scratch_bytes(int64_t rows, int64_t vocabulary, const Traits& traits);

// The order of every sum depends on the shapes, dtypes and alignment of x and weight and on the device alone. Returns
// what the launches returned; cudaErrorInvalidValue when scratch is too small, cudaErrorInvalidConfiguration when a
// dimension needs more blocks than a grid has.
cudaError_t launch_cross_entropy(const Launch& launch, const CrossEntropyArgs& args);

}  // namespace zo2::cuda
