#include "cuda/ops/linear_simt.cuh"

#include "cuda/ops/linear_kernel.cuh"
#include "cuda/ops/product_simt.cuh"

namespace zo2::cuda {

cudaError_t launch_linear_simt(const Launch& launch, const LinearArgs& args) {
  const int64_t large = ((args.out.rows + 127) / 128) * ((args.out.cols + 127) / 128);
  // Large tiles once they give every multiprocessor a block.
  if (large >= launch.traits->multiprocessors) return launch_linear_product<SimtProduct<128>>(launch, args);
  return launch_linear_product<SimtProduct<64>>(launch, args);
}

}  // namespace zo2::cuda
