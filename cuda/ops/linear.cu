#include "cuda/ops/linear.cuh"

#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_simt.cuh"
#include "cuda/ops/linear_sm90.cuh"

namespace zo2::cuda {

cudaError_t launch_linear(const Launch& launch, const LinearArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  if (args.weight.dtype == ZO2_F32 && !launch.traits->tf32) return launch_linear_simt(launch, args);
  if (linear_sm90_accepts(launch, args)) return launch_linear_sm90(launch, args);
  return launch_linear_mma(launch, args);
}

}  // namespace zo2::cuda
