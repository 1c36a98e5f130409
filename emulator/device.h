// CUDA's device side for sources that g++ compiles. cuda/kernel.h includes it; nothing else does.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <cuda_runtime.h>
#include <vector_functions.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "emulator/where.h"

// The toolkit's headers above need its own meaning of these words; kernels need none.
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __managed__
#undef __grid_constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

namespace zo2::emu {

// By value and const: a thread's indices never change while it runs, so that the compiler may keep them.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();

// The launch's dynamic shared memory; reports when it has fewer bytes than `needed`.
void* dynamic_shared(size_t needed, Where where = {});
// The block's variable named by `key`.
void* static_shared(const void* key, size_t bytes, size_t alignment, Where where = {});

}  // namespace zo2::emu

#define threadIdx (::zo2::emu::thread_index())
#define blockIdx (::zo2::emu::block_index())

// Variables, not macros: the toolkit has fields of these names.
extern dim3 blockDim;
extern dim3 gridDim;
static constexpr int warpSize = 32;

#include "emulator/device_atomics.h"
#include "emulator/device_launch.h"
#include "emulator/device_math.h"
#include "emulator/device_sync.h"
