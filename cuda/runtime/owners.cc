#include "cuda/runtime/owners.h"

#include <algorithm>
#include <cinttypes>

#include "contract/status.h"
#include "cuda/runtime/check.h"

namespace zo2::cuda {

void release_stream(cudaStream_t stream) { ZO2_CUDA_QUIET(cudaStreamDestroy(stream)); }
void release_event(cudaEvent_t event) { ZO2_CUDA_QUIET(cudaEventDestroy(event)); }

CudaStream make_cuda_stream() {
  cudaStream_t stream = nullptr;
  ZO2_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return CudaStream(stream);
}

CudaEvent make_cuda_event() {
  cudaEvent_t event = nullptr;
  ZO2_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventBlockingSync));
  return CudaEvent(event);
}

DeviceArena::DeviceArena(uint64_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, static_cast<size_t>(std::max<uint64_t>(bytes, 1)));
  if (status == cudaErrorMemoryAllocation) {
    ignore(status);
    size_t free = 0;
    size_t total = 0;
    ZO2_CUDA_QUIET(cudaMemGetInfo(&free, &total));
    contract::fail(ZO2_STATUS_OUT_OF_MEMORY,
                   "%" PRIu64 " bytes of device memory were asked for, but %" PRIu64 " are free of the %" PRIu64
                   " that the device has (memory of other processes counts, and no piece that is free may be large "
                   "enough); plan for less",
                   bytes, static_cast<uint64_t>(free), static_cast<uint64_t>(total));
  }
  check_call(status, "cudaMalloc");
  data_ = static_cast<uint8_t*>(data);
}

DeviceArena::~DeviceArena() {
  if (data_ != nullptr) ZO2_CUDA_QUIET(cudaFree(data_));
}

void DeviceArena::upload(const void* from, uint64_t bytes) {
  ZO2_CUDA_CHECK(cudaMemcpyAsync(data_, from, bytes, cudaMemcpyHostToDevice, cudaStreamLegacy));
  ZO2_CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));
}

}  // namespace zo2::cuda
