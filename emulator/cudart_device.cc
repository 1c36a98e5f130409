// Devices and functions: the emulated runtime API's part that describes.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "emulator/arena.h"
#include "emulator/config.h"
#include "emulator/cudart.h"
#include "emulator/hooks.h"
#include "emulator/loading.h"

namespace zo2::emu {
namespace {

constexpr int kMultiprocessors = 4;  // few, so that grids sized by it stay small
constexpr int kSharedWithoutOptIn = 48 << 10;

cudaError_t check_device(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

int attribute(cudaDeviceAttr attribute) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return config().capability / 10;
    case cudaDevAttrComputeCapabilityMinor:
      return config().capability % 10;
    case cudaDevAttrMultiProcessorCount:
      return kMultiprocessors;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrMaxBlockDimX:
      return 1024;
    case cudaDevAttrMaxBlockDimY:
      return 1024;
    case cudaDevAttrMaxBlockDimZ:
      return 64;
    case cudaDevAttrMaxGridDimX:
      return 0x7fffffff;
    case cudaDevAttrMaxGridDimY:
      return 65535;
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return kSharedWithoutOptIn;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(config().shared_limit());
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(config().shared_per_multiprocessor());
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return 2048;
    case cudaDevAttrMaxRegistersPerBlock:
      return 65536;
    case cudaDevAttrUnifiedAddressing:
      return 1;
    case cudaDevAttrCanMapHostMemory:
      return 1;
    case cudaDevAttrHostRegisterSupported:
      return 1;
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
      return 1;
    case cudaDevAttrConcurrentKernels:
      return 1;
    case cudaDevAttrAsyncEngineCount:
      return 2;
    case cudaDevAttrStreamPrioritiesSupported:
      return 1;
    default:
      return 0;
  }
}

void describe(cudaDeviceProp* properties) {
  memset(properties, 0, sizeof *properties);
  snprintf(properties->name, sizeof properties->name, "zo2 emulated GPU (compute capability %d.%d, on the CPU)",
           config().capability / 10, config().capability % 10);
  properties->totalGlobalMem = config().memory;
  properties->major = config().capability / 10;
  properties->minor = config().capability % 10;
  properties->multiProcessorCount = kMultiprocessors;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->sharedMemPerBlock = kSharedWithoutOptIn;
  properties->sharedMemPerBlockOptin = config().shared_limit();
  properties->sharedMemPerMultiprocessor = config().shared_per_multiprocessor();
  properties->reservedSharedMemPerBlock = 1024;
  properties->regsPerBlock = 65536;
  properties->unifiedAddressing = 1;
  properties->canMapHostMemory = 1;
  properties->concurrentKernels = 1;
  properties->asyncEngineCount = 2;
}

}  // namespace
}  // namespace zo2::emu

using namespace zo2::emu;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = arena_base() == nullptr ? 0 : 1;
  return *count == 1 ? cudaSuccess : give(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  ZO2_EMU_ENTER();
  return give(check_device(device));
}

cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  if (device != 0) return give(cudaErrorInvalidDevice);
  *value = attribute(which);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return give(cudaErrorInvalidDevice);
  describe(properties);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (device != 0) return give(cudaErrorInvalidDevice);
  snprintf(text, static_cast<size_t>(length), "0000:00:00.0");
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  ZO2_EMU_ENTER();
  *total = config().memory;
  *free = config().memory - device_bytes_in_use();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  ZO2_EMU_ENTER();
  wait_for_all();
  return give(device_status());
}

cudaError_t cudaDeviceReset() {
  const std::lock_guard hold(runtime_lock());
  reset_streams();
  release_everything();
  unload_kernels();
  if constexpr (kRace) hooks::device_reset();
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute which, int value) {
  ZO2_EMU_ENTER();
  if (which == cudaFuncAttributeMaxDynamicSharedMemorySize &&
      (value < 0 || static_cast<size_t>(value) > config().shared_limit())) {
    return give(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  ZO2_EMU_ENTER();
  load_kernel(kernel);
  memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = 1024;
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(config().shared_limit());
  attributes->binaryVersion = attributes->ptxVersion = config().capability;
  return cudaSuccess;
}

}  // extern "C"
