// LINEAR in exact fp32, without tensor cores.
#pragma once

#include "cuda/ops/linear.cuh"

namespace zo2::cuda {

// As launch_linear (linear.cuh) with x and weight widened to fp32: every product is exact, every sum a chain of fp32
// fused multiply-adds in the order of K, the same whatever the tile.
cudaError_t launch_linear_simt(const Launch& launch, const LinearArgs& args);

}  // namespace zo2::cuda
