#include "cuda/ops/store.cuh"

#include <algorithm>
#include <cstring>

#include "cuda/kernel.h"

namespace zo2::cuda {
namespace {

constexpr int kThreads = 256;
// Arguments of a kernel have 4 KiB on every architecture.
constexpr uint64_t kBytes = 3968;

struct Payload {
  uint32_t words[kBytes / 4];
};

__global__ void __launch_bounds__(kThreads)
    store_kernel(uint32_t* to, uint32_t words, const __grid_constant__ Payload payload, const uint32_t* poison) {
  if (*poison != 0) return;
  for (uint32_t i = threadIdx.x; i < words; i += kThreads) to[i] = payload.words[i];
}

}  // namespace

cudaError_t launch_store(const Launch& launch, void* to, const void* from, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes; done += kBytes) {
    const uint64_t part = std::min(kBytes, bytes - done);
    Payload payload = {};
    std::memcpy(payload.words, static_cast<const uint8_t*>(from) + done, part);
    uint32_t* const place = reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(to) + done);
    const cudaError_t status = ZO2_LAUNCH(store_kernel, 1, kThreads, 0, launch.stream, place,
                                          static_cast<uint32_t>((part + 3) / 4), payload, launch.poison());
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace zo2::cuda
