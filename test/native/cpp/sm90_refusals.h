// What every kernel over the Hopper pipeline (cuda/ops/product_sm90.cuh) is tested with: devices of a few
// multiprocessors, and operands and devices that it must refuse.
#pragma once

#include "op_kernels.h"

#include "cuda/ops/matrix.cuh"

namespace zo2::test {

// The device of this machine, as if it had so many multiprocessors: few, so that each block walks over several tiles.
inline cuda::Traits traits_of_device(int multiprocessors) {
  int device = 0;
  cudaDeviceProp properties{};
  MUST(cudaGetDevice(&device));
  MUST(cudaGetDeviceProperties(&properties, device));
  return {properties.major * 10 + properties.minor, multiprocessors,
          static_cast<int>(properties.sharedMemPerBlockOptin), false,
          static_cast<int>(properties.sharedMemPerMultiprocessor)};
}

// `good` has x and weight of bf16, with fewer tiles than 132 multiprocessors want; accepts(launch, args) is to take it
// on `traits`, which `at` refers to. They are as they were afterwards.
template <class Args, class Accepts>
void sm90_refusals(const cuda::Launch& at, cuda::Traits& traits, const Args& good, const Accepts& accepts) {
  CHECK(accepts(at, good));
  const auto refused = [&](const char* what, auto change) {
    Args args = good;
    change(args);
    CHECK(!accepts(at, args), "%s", what);
  };
  refused("x of fp32", [](Args& a) { a.x.dtype = ZO2_F32; });
  refused("both fp32", [](Args& a) { a.x.dtype = a.weight.dtype = ZO2_F32; });
  refused("two 16-bit dtypes", [](Args& a) { a.x.dtype = ZO2_F16; });
  refused("x off 16 bytes", [](Args& a) { a.x.data = static_cast<uint8_t*>(a.x.data) + 2; });
  refused("weight off 16 bytes", [](Args& a) { a.weight.data = static_cast<uint8_t*>(a.weight.data) + 8; });
  refused("odd stride of x", [](Args& a) { a.x.stride = 68; });
  refused("odd stride of weight", [](Args& a) { a.weight.stride = 65; });
  refused("K = 0", [](Args& a) { a.x.cols = a.weight.cols = 0; });
  refused("N = 0", [](Args& a) { a.weight.rows = 0; });
  const cuda::Traits taken = traits;
  for (const int capability : {80, 89, 100, 120}) {
    traits.capability = capability;
    CHECK(!accepts(at, good), "capability %d", capability);
  }
  traits = taken;
  traits.shared_per_block = 164 << 10;
  CHECK(!accepts(at, good), "too little shared memory");
  traits = taken;
  traits.multiprocessors = 132;
  CHECK(!accepts(at, good), "one tile for 132 multiprocessors");
  traits = taken;
}

}  // namespace zo2::test
