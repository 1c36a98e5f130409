// The head of Hopper by its kernel: on devices of different sizes, beside its mma.sync twin, and what it must refuse.
#include "op_kernels.h"

#include "cross_entropy_cases.h"
#include "cuda/ops/cross_entropy_sm90.cuh"

using namespace zo2::test;
using zo2::cuda::CrossEntropyArgs;
using zo2::cuda::Launch;
using zo2::cuda::Traits;

namespace {

Traits traits_of_device(int multiprocessors) {
  int device = 0;
  cudaDeviceProp properties{};
  MUST(cudaGetDevice(&device));
  MUST(cudaGetDeviceProperties(&properties, device));
  return {properties.major * 10 + properties.minor, multiprocessors,
          static_cast<int>(properties.sharedMemPerBlockOptin), false};
}

// launch_cross_entropy, which must choose the kernel under test.
Kernels hopper(int multiprocessors) {
  Kernels kernels;
  kernels.name = multiprocessors == 1 ? "1 multiprocessor" : multiprocessors == 2 ? "2 multiprocessors" : "several";
  kernels.traits = traits_of_device(multiprocessors);
  kernels.launch = [](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    CrossEntropyArgs args{};
    args.x = m[op.words[2]];
    args.weight = m[op.words[3]];
    if (!CHECK(cross_entropy_sm90_accepts(at, args), "refused")) return cudaErrorInvalidValue;
    return launch_cross_entropy_op(at, op, m);
  };
  return kernels;
}

Kernels twin() {
  Kernels kernels;
  kernels.name = "mma.sync";
  kernels.traits = traits_of_device(2);
  kernels.traits.capability = 80;
  return kernels;
}

void refusals(CudaRig& rig) {
  const Guarded memory(256 * 128 * 4);
  CrossEntropyArgs good{};
  good.x = good.weight = {memory.at(), ZO2_BF16, 128, 64, 72};
  Traits traits = traits_of_device(2);
  Launch at = rig.launch();
  at.traits = &traits;
  CHECK(cross_entropy_sm90_accepts(at, good));
  auto refused = [&](const char* what, auto change) {
    CrossEntropyArgs args = good;
    change(args);
    CHECK(!cross_entropy_sm90_accepts(at, args), "%s", what);
  };
  refused("x of fp32", [](CrossEntropyArgs& a) { a.x.dtype = ZO2_F32; });
  refused("both fp32", [](CrossEntropyArgs& a) { a.x.dtype = a.weight.dtype = ZO2_F32; });
  refused("two 16-bit dtypes", [](CrossEntropyArgs& a) { a.x.dtype = ZO2_F16; });
  refused("x off 16 bytes", [](CrossEntropyArgs& a) { a.x.data = static_cast<uint8_t*>(a.x.data) + 2; });
  refused("weight off 16 bytes", [](CrossEntropyArgs& a) { a.weight.data = static_cast<uint8_t*>(a.weight.data) + 8; });
  refused("odd stride of x", [](CrossEntropyArgs& a) { a.x.stride = 68; });
  refused("odd stride of weight", [](CrossEntropyArgs& a) { a.weight.stride = 65; });
  refused("K = 0", [](CrossEntropyArgs& a) { a.x.cols = a.weight.cols = 0; });
  refused("64 rows", [](CrossEntropyArgs& a) { a.x.rows = 64; });
  refused("no entries", [](CrossEntropyArgs& a) { a.weight.rows = 0; });
  for (const int capability : {80, 89, 100, 120}) {
    traits.capability = capability;
    CHECK(!cross_entropy_sm90_accepts(at, good), "capability %d", capability);
  }
  traits.capability = 90;
  traits.shared_per_block = 164 << 10;
  CHECK(!cross_entropy_sm90_accepts(at, good), "too little shared memory");
  traits.shared_per_block = 227 << 10;
  traits.multiprocessors = 132;
  CHECK(!cross_entropy_sm90_accepts(at, good), "one tile for 132 multiprocessors");
  traits.multiprocessors = 2;
  good.scratch = memory.at();
  good.scratch_bytes = 128 * 8 - 1;
  int64_t splits = 0;
  CHECK(launch_cross_entropy_sm90(at, good, &splits) == cudaErrorInvalidValue, "too small a scratch was taken");
}

}  // namespace

int main() {
  CudaRig rig;
  const Traits here = traits_of_device(1);
  if (here.capability != 90) {
    printf("capability %d has no wgmma: only the refusal is tested\n", here.capability);
    Launch at = rig.launch();
    at.traits = &here;
    CHECK(!cross_entropy_sm90_accepts(at, CrossEntropyArgs{}));
    return report();
  }
  CrossEntropyCases(through_kernels(rig, hopper(2))).hopper();
  CrossEntropyCases(through_kernels(rig, twin())).hopper();
  for (const int multiprocessors : {1, 3, 16})
    CrossEntropyCases(through_kernels(rig, hopper(multiprocessors))).hopper_walks();
  CrossEntropyCases(through_kernels(rig, twin())).hopper_walks();
  CrossEntropyCases(through_poisoned_kernels(rig, hopper(2))).hopper();
  refusals(rig);
  return report();
}
