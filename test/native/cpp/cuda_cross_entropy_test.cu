// The streamed head by its kernels, on devices of different sizes: on one multiprocessor blocks walk over many tiles.
#include "op_kernels.h"

#include "cross_entropy_cases.h"

using namespace zo2::test;
using zo2::cuda::cross_entropy_scratch_bytes;
using zo2::cuda::CrossEntropyArgs;
using zo2::cuda::Traits;

namespace {

Kernels on(int multiprocessors, bool tf32 = false) {
  Kernels kernels;
  kernels.name = multiprocessors == 1 ? "1 multiprocessor" : multiprocessors == 132 ? "132 multiprocessors" : "a few";
  kernels.traits = {80, multiprocessors, 99 << 10, tf32};
  kernels.tf32 = tf32;
  return kernels;
}

// A scratch that is too small is refused.
void small_scratch(CudaRig& rig) {
  CrossEntropyArgs args{};
  args.x = args.weight = {nullptr, ZO2_F32, 2, 4, 4};
  args.scratch_bytes = 8;
  const Traits traits = on(2).traits;
  zo2::cuda::Launch at = rig.launch();
  at.traits = &traits;
  CHECK(launch_cross_entropy(at, args) == cudaErrorInvalidValue, "too small a scratch was taken");
}

// Enough for the rows of any smaller batch too, as the runtime allocates it once for the largest.
void scratch_bound() {
  const Traits traits = {80, 7, 99 << 10, false};
  size_t largest = 0;
  bool monotone = true;
  for (int64_t rows = 1; rows < 3000; rows++) {
    const size_t bytes = cross_entropy_scratch_bytes(rows, 50000, traits);
    monotone = monotone && bytes >= largest;
    largest = bytes;
  }
  CHECK(monotone);
}

}  // namespace

int main() {
  {
    CudaRig rig;
    for (const int multiprocessors : {1, 3, 132}) CrossEntropyCases(through_kernels(rig, on(multiprocessors))).walks();
    for (const bool tf32 : {false, true}) CrossEntropyCases(through_kernels(rig, on(2, tf32))).dtypes();
    const CrossEntropyCases few(through_kernels(rig, on(2)));
    few.extremes();
    few.empty();
    few.not_a_number();
    few.minus_infinity();
    CrossEntropyCases(through_poisoned_kernels(rig, on(3))).walks();
    small_scratch(rig);
  }
  scratch_bound();
  return report();
}
