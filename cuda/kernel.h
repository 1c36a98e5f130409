// The one header of CUDA that kernel files include. Under nvcc it is the real CUDA; under g++ it is the emulator, which
// runs the same sources on the CPU (emulator/). Rules that follow from it: no raw PTX (instructions/ wraps it), no
// <<<>>>, no `extern __shared__`, no cooperative_groups, no CUB. A struct in shared or global memory is copied to a
// variable before it is passed by value: g++ does not instrument reads of arguments, and the race build would not see
// them.
//
//   ZO2_EMULATED                     1 in a build with the emulator, whose CMakeLists.txt says so; nothing under nvcc
//   ZO2_SHARED_DYNAMIC(T, name)      declares `T* name`: the launch's dynamic shared memory, aligned to 1024 bytes;
//                                    launched with at least sizeof(T) bytes
//   ZO2_SHARED_STATIC(T, name)       declares `T& name` in static shared memory; T may be an array type, such as
//                                    float[8]
//   ZO2_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
//                                    a cudaError_t: launches, asking for the opt-in limit of shared memory where that
//                                    is needed, and checks the launch (not its end). A kernel whose name has commas
//                                    stands in parentheses. It is a constant, so that the program has a list of all
//                                    kernels before it launches any (kernel_list.h).
#pragma once

#include "cuda/kernel_list.h"

#if ZO2_EMULATED

#include "emulator/device.h"

#define ZO2_SHARED_DYNAMIC(T, name) T* name = static_cast<T*>(::zo2::emu::dynamic_shared(sizeof(T)))

#define ZO2_SHARED_STATIC(T, name) \
  static char name##_key;          \
  auto& name = *static_cast<std::add_pointer_t<T>>(::zo2::emu::static_shared(&name##_key, sizeof(T), alignof(T)))

#define ZO2_LAUNCH(kernel, grid, block, shared_bytes, ...) \
  ::zo2::emu::launch(#kernel, ::zo2::cuda::Listed<(kernel)>::address(), grid, block, shared_bytes, __VA_ARGS__)

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

// The comment in the PTX is for scripts/kernel-figures.mjs: nothing else of a compiled kernel says how much it asks
// for.
#if defined(__CUDA_ARCH__)
#define ZO2_NOTE_DYNAMIC_SHARED(T) asm volatile("// dynamic shared memory: %0" ::"n"(sizeof(T)))
#else
#define ZO2_NOTE_DYNAMIC_SHARED(T) static_cast<void>(0)
#endif

#define ZO2_SHARED_DYNAMIC(T, name)                                           \
  extern __shared__ __align__(1024) unsigned char zo2_dynamic_shared_bytes[]; \
  T* name = reinterpret_cast<T*>(zo2_dynamic_shared_bytes);                   \
  ZO2_NOTE_DYNAMIC_SHARED(T)

#define ZO2_SHARED_STATIC(T, name) __shared__ ::zo2::cuda::detail::Same<T> name

#define ZO2_LAUNCH(kernel, grid, block, shared_bytes, ...) \
  ::zo2::cuda::detail::launch(::zo2::cuda::Listed<(kernel)>::address(), grid, block, shared_bytes, __VA_ARGS__)

namespace zo2::cuda::detail {

// A spelling in which an array type may stand before the name that it declares.
template <class T>
using Same = T;

// What every device gives a block without being asked.
constexpr size_t kSharedWithoutOptIn = 48 << 10;

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments&&... arguments) {
  if (shared_bytes > kSharedWithoutOptIn) {
    const cudaError_t status =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (status != cudaSuccess) return status;
  }
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Arguments&&>(arguments)...);
  return cudaGetLastError();
}

}  // namespace zo2::cuda::detail

#endif
