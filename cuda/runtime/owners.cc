#include "cuda/runtime/owners.h"

#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "contract/host.h"
#include "contract/status.h"
#include "cuda/runtime/check.h"

namespace zo2::cuda {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr uint64_t kHugePage = uint64_t{2} << 20;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

[[noreturn]] void fail_for_room(uint64_t bytes, const char* reason) {
  contract::fail(ZO2_STATUS_OUT_OF_MEMORY,
                 "%" PRIu64 " bytes of host memory were asked for, and the machine, which has %" PRIu64
                 ", cannot lock them: %s; plan for less, or raise the limit of locked memory",
                 bytes, host_memory_total(), reason);
}

// `bytes` (a multiple of the huge page) of zero pages that start on a huge page; null when there is no room.
void* map_huge(uint64_t bytes) {
  void* const whole =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  uint8_t* const start = static_cast<uint8_t*>(whole);
  const uint64_t before = round_up(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  if (before != 0) munmap(start, before);
  if (before != kHugePage) munmap(start + before + bytes, kHugePage - before);
  madvise(start + before, bytes, MADV_HUGEPAGE);  // a wish: fewer pages to lock where it is granted
  madvise(start + before, bytes, MADV_DONTFORK);  // a child that writes must not move pages away from under the device
  return start + before;
}

}  // namespace

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

PinnedArena::PinnedArena(uint64_t bytes) {
  if (bytes > host_memory_total()) fail_for_room(bytes, "that is more than there is");
  if (bytes > kHugePage) {
    const uint64_t whole = round_up(bytes, kHugePage);
    base_ = map_huge(whole);
    if (base_ == nullptr) fail_for_room(bytes, "mmap failed");
    mapped_ = whole;
    data_ = static_cast<uint8_t*>(base_);
    const cudaError_t status =
        cudaHostRegister(base_, static_cast<size_t>(whole), cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (status == cudaSuccess) return;
    ignore(status);
    munmap(base_, whole);
    base_ = nullptr;
    fail_for_room(bytes, cudaGetErrorName(status));
  }
  const uint64_t room = std::max<uint64_t>(bytes, 1) + kAlignment;
  const cudaError_t status =
      cudaHostAlloc(&base_, static_cast<size_t>(room), cudaHostAllocPortable | cudaHostAllocMapped);
  if (status != cudaSuccess) {
    ignore(status);
    base_ = nullptr;
    if (status != cudaErrorMemoryAllocation) check_call(status, "cudaHostAlloc");
    fail_for_room(bytes, cudaGetErrorName(status));
  }
  data_ = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(base_), kAlignment));
  std::memset(data_, 0, bytes);
}

PinnedArena::~PinnedArena() {
  if (base_ == nullptr) return;
  if (mapped_ == 0) {
    ZO2_CUDA_QUIET(cudaFreeHost(base_));
    return;
  }
  ZO2_CUDA_QUIET(cudaHostUnregister(base_));
  munmap(base_, mapped_);
}

uint64_t host_memory_total() { return contract::host().memory_total; }

}  // namespace zo2::cuda
