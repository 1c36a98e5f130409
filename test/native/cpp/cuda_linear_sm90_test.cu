// The Hopper matrix product by its kernel: exact sums on devices of a few multiprocessors, beside its mma.sync twin,
// and what it must refuse.
#include "op_kernels.h"

#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_sm90.cuh"
#include "linear_cases.h"
#include "sm90_refusals.h"

using namespace zo2::test;
using zo2::cuda::Launch;
using zo2::cuda::LinearArgs;
using zo2::cuda::Traits;

namespace {

Kernels hopper(const char* name, int multiprocessors) {
  Kernels kernels;
  kernels.name = name;
  kernels.traits = traits_of_device(multiprocessors);
  kernels.launch = [](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    const LinearArgs args = linear_args(op, m);
    return CHECK(linear_sm90_accepts(at, args), "refused") ? launch_linear_sm90(at, args) : cudaErrorInvalidValue;
  };
  return kernels;
}

Kernels twin() {
  Kernels kernels;
  kernels.name = "mma.sync";
  kernels.traits = traits_of_device(2);
  kernels.launch = [](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    return launch_linear_mma(at, linear_args(op, m));
  };
  return kernels;
}

void refusals(CudaRig& rig) {
  const Guarded memory(128 * 128 * 4);
  LinearArgs good{};
  good.out = {memory.at(), ZO2_F32, 128, 128, 128};
  good.x = good.weight = {memory.at(), ZO2_BF16, 128, 64, 72};
  Traits traits = traits_of_device(2);
  Launch at = rig.launch();
  at.traits = &traits;
  sm90_refusals(at, traits, good, zo2::cuda::linear_sm90_accepts);
  const auto refused = [&](const char* what, auto change) {
    LinearArgs args = good;
    change(args);
    CHECK(!linear_sm90_accepts(at, args), "%s", what);
  };
  refused("M = 0", [](LinearArgs& a) { a.x.rows = a.out.rows = 0; });
  refused("more rows than 31 bits count", [](LinearArgs& a) { a.x.rows = a.out.rows = int64_t{1} << 31; });
}

}  // namespace

int main() {
  CudaRig rig;
  const Traits here = traits_of_device(1);
  if (here.capability != 90) {
    printf("capability %d has no wgmma: only the refusal is tested\n", here.capability);
    Launch at = rig.launch();
    at.traits = &here;
    CHECK(!linear_sm90_accepts(at, LinearArgs{}));
    return report();
  }
  LinearCases(through_kernels(rig, hopper("2 multiprocessors", 2))).hopper();
  LinearCases(through_kernels(rig, twin())).hopper();
  for (const int multiprocessors : {1, 3, 4})
    LinearCases(through_kernels(rig, hopper("a few multiprocessors", multiprocessors))).hopper_walks();
  LinearCases(through_kernels(rig, twin())).hopper_walks();
  LinearCases(through_poisoned_kernels(rig, hopper("poisoned", 2))).hopper();
  refusals(rig);
  return report();
}
