#include "cuda/kernel_list.h"

#include <utility>

#include "cuda/runtime/check.h"

namespace zo2::cuda {
namespace {

// Constant-initialised: entries of other files are made before or after whatever this file constructs.
const ListedKernel* first = nullptr;

}  // namespace

ListedKernel::ListedKernel(const void* kernel) : function(kernel), next(std::exchange(first, this)) {}

void load_kernels() noexcept {
  for (const ListedKernel* kernel = first; kernel != nullptr; kernel = kernel->next) {
    cudaFuncAttributes attributes;
    ZO2_CUDA_QUIET(cudaFuncGetAttributes(&attributes, kernel->function));
  }
}

}  // namespace zo2::cuda
