// linear by kernels of a test's choice: every tile of the tensor cores, fp32, and what is chosen on a small device.
#include "op_kernels.h"

#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_simt.cuh"
#include "linear_cases.h"

using namespace zo2::test;
using zo2::cuda::Launch;
using zo2::cuda::LinearTile;

namespace {

// One multiprocessor, so that even small products fill the device and take large tiles.
constexpr zo2::cuda::Traits kSmall = {80, 1, 99 << 10, false, 100 << 10},
                            kSmallTf32 = {80, 1, 99 << 10, true, 100 << 10};
// With more shared memory, and so a longer ring for the largest tile.
constexpr zo2::cuda::Traits kRoomy = {80, 1, 163 << 10, false, 164 << 10};

Kernels tile(LinearTile of, const char* name, const zo2::cuda::Traits& traits = kSmall) {
  const auto launch = [of](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    return launch_linear_mma(at, linear_args(op, m), of);
  };
  // Tensor cores take fp32 as tf32.
  return {name, traits, launch, true};
}

Kernels simt() {
  const auto launch = [](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    return launch_linear_simt(at, linear_args(op, m));
  };
  return {"simt", kSmall, launch};
}

// Tiles are for the device: few rows spread over it, many use the largest.
void choice() {
  using zo2::cuda::choose_linear_tile;
  CHECK(choose_linear_tile(4096, 8192, 132) == LinearTile::k128x128);
  CHECK(choose_linear_tile(64, 2048, 132) == LinearTile::k64x64);
  CHECK(choose_linear_tile(512, 2048, 132) != LinearTile::k128x128);
  CHECK(choose_linear_tile(1, 1, 1) == LinearTile::k64x64);
}

// Two blocks of 128 x 128 fit on a multiprocessor, whichever it is: rings of 3 stages, 48 KiB, where it has 100 KiB.
void stages() {
  using zo2::cuda::choose_linear_stages;
  const auto with = [](int kibibytes) { return choose_linear_stages({80, 1, 99 << 10, false, kibibytes << 10}); };
  CHECK(with(100) == 3 && with(128) == 3, "%d %d", with(100), with(128));
  CHECK(with(164) == 4 && with(228) == 4, "%d %d", with(164), with(228));
  cudaDeviceProp properties{};
  MUST(cudaGetDeviceProperties(&properties, 0));
  const int capability = properties.major * 10 + properties.minor;
  const bool small = capability == 86 || capability == 89 || capability == 120;
  const int here = static_cast<int>(properties.sharedMemPerMultiprocessor >> 10);
  CHECK(with(here) == (small ? 3 : 4), "capability %d has %d KiB", capability, here);
}

}  // namespace

int main() {
  {
    CudaRig rig;
    const Kernels chosen = {"chosen", kSmall}, chosen_tf32 = {"chosen, tf32", kSmallTf32, launch_op, true};
    const Kernels tiles[] = {tile(LinearTile::k128x128, "128 x 128"), tile(LinearTile::k128x64, "128 x 64"),
                             tile(LinearTile::k64x64, "64 x 64"),
                             tile(LinearTile::k128x128, "128 x 128, 4 stages", kRoomy)};
    for (const Kernels& kernels : tiles) {
      LinearCases(through_kernels(rig, kernels)).tiles();
      LinearCases(through_kernels(rig, kernels)).empty(ZO2_F16);
    }
    LinearCases(through_kernels(rig, simt())).tiles_in_fp32();
    LinearCases(through_kernels(rig, simt())).empty(ZO2_F32);
    LinearCases(through_kernels(rig, chosen)).empty(ZO2_F16);
    LinearCases(through_kernels(rig, chosen)).dtypes(false);
    LinearCases(through_kernels(rig, chosen)).activations(false);
    LinearCases(through_kernels(rig, chosen)).ends(false);
    LinearCases(through_kernels(rig, chosen_tf32)).dtypes(true);
    LinearCases(through_kernels(rig, chosen_tf32)).activations(true);
    LinearCases(through_kernels(rig, chosen_tf32)).ends(true);
    LinearCases(through_poisoned_kernels(rig, chosen)).dtypes(false);
  }
  choice();
  stages();
  return report();
}
