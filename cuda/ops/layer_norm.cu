#include "cuda/ops/layer_norm.cuh"

#include "cuda/ops/row_norm.cuh"

namespace zo2::cuda {

cudaError_t launch_layer_norm(const Launch& launch, const LayerNormArgs& args) {
  return launch_row_norm<true>(launch, args.out, args.x, args.gain, args.bias, args.epsilon);
}

}  // namespace zo2::cuda
