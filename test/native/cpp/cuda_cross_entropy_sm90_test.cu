// The head of Hopper by its kernel: on devices of different sizes, beside its mma.sync twin, and what it must refuse.
#include "op_kernels.h"

#include "cross_entropy_cases.h"
#include "cuda/ops/cross_entropy_sm90.cuh"
#include "sm90_refusals.h"

using namespace zo2::test;
using zo2::cuda::CrossEntropyArgs;
using zo2::cuda::Launch;
using zo2::cuda::Traits;

namespace {

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
  sm90_refusals(at, traits, good, zo2::cuda::cross_entropy_sm90_accepts);
  CrossEntropyArgs few = good;
  few.x.rows = 64;
  CHECK(!cross_entropy_sm90_accepts(at, few), "64 rows");
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
