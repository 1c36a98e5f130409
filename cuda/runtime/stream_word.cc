#include "cuda/runtime/stream_word.h"

#include "cuda/runtime/build.h"
#include "cuda/runtime/check.h"

#if !ZO2_EMULATED
#include <cuda.h>
#endif

namespace zo2::cuda {

#if ZO2_EMULATED

bool wait_for_word(cudaStream_t, uint32_t*, uint32_t) { return false; }

#else

namespace {

using WaitValue = CUresult (*)(CUstream, CUdeviceptr, cuuint32_t, unsigned int);

// Asked of the driver at run time, so that nothing links it; null where it has none.
WaitValue wait_value() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuStreamWaitValue32", &entry, 12000, cudaEnableDefault, &found);
  ignore(status);
  return status == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<WaitValue>(entry) : nullptr;
}

}  // namespace

bool wait_for_word(cudaStream_t stream, uint32_t* word, uint32_t value) {
  const WaitValue wait = wait_value();
  return wait != nullptr &&
         wait(stream, reinterpret_cast<CUdeviceptr>(word), value, CU_STREAM_WAIT_VALUE_GEQ) == CUDA_SUCCESS;
}

#endif

}  // namespace zo2::cuda
