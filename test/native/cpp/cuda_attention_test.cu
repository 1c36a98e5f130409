// attention by kernels of a test's choice: that on tensor cores, and that in fp32, which takes what tensor cores take
// too.
#include "op_kernels.h"

#include "attention_cases.h"
#include "cuda/ops/attention_mma.cuh"
#include "cuda/ops/attention_simt.cuh"

using namespace zo2::test;
using zo2::cuda::AttentionArgs;
using zo2::cuda::Launch;

namespace {

// The kernel that is chosen, which must be the one on tensor cores or must not.
Kernels chosen(bool tensor_cores) {
  Kernels kernels;
  kernels.name = tensor_cores ? "tensor cores" : "chosen in fp32";
  kernels.rounds_softmax = tensor_cores;
  kernels.launch = [tensor_cores](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    const AttentionArgs args = attention_args(op, m);
    CHECK(zo2::cuda::attention_unsupported(args) == nullptr);
    CHECK(zo2::cuda::attention_mma_accepts(args) == tensor_cores, "takes the other path");
    return launch_attention(at, args);
  };
  return kernels;
}

Kernels in_fp32() {
  Kernels kernels;
  kernels.name = "in fp32";
  kernels.launch = [](const Launch& at, const OpCase::Op& op, const DeviceOperands& m) {
    return launch_attention_simt(at, attention_args(op, m));
  };
  return kernels;
}

// Heads that no kernel takes are named.
void refusals() {
  AttentionArgs args{};
  args.q = {nullptr, ZO2_BF16, 4, 16, 16};
  args.out = args.k = args.v = args.q;
  args.sequences = {nullptr, ZO2_I32, 1, 4, 4};
  args.heads = args.kv_heads = 1;
  args.q.cols = 257;
  CHECK(zo2::cuda::attention_unsupported(args) != nullptr, "heads of 257 columns");
  args.q.cols = 256;
  CHECK(zo2::cuda::attention_unsupported(args) == nullptr, "heads of 256 columns");
  args.q.rows = (int64_t{1} << 29) + 1;
  CHECK(zo2::cuda::attention_unsupported(args) != nullptr, "2^29 + 1 rows");
  args.q.rows = 4;
  args.k.rows = (int64_t{1} << 29) + 1;
  CHECK(zo2::cuda::attention_unsupported(args) != nullptr, "2^29 + 1 rows of keys");
}

}  // namespace

int main() {
  {
    CudaRig rig;
    AttentionCases(through_kernels(rig, chosen(true))).tensor_cores();
    AttentionCases(through_kernels(rig, in_fp32())).tensor_cores();
    AttentionCases(through_kernels(rig, chosen(false))).in_fp32();
    AttentionCases(through_poisoned_kernels(rig, chosen(true))).tensor_cores();
    AttentionCases(through_poisoned_kernels(rig, in_fp32())).in_fp32();
  }
  refusals();
  return report();
}
