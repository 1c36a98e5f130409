#include "cpu/program_run.h"

#include <vector>

#include "cpu/ops/ops.h"
#include "cpu/runtime/device.h"

namespace zo2::cpu {

namespace {

void dispatch(const OpRun& run) {
  switch (run.op.opcode) {
    case ZO2_OP_EMBED:
      return run_embed(run);
    case ZO2_OP_LINEAR:
      return run_linear(run);
    case ZO2_OP_LAYER_NORM:
      return run_layer_norm(run);
    case ZO2_OP_ATTENTION:
      return run_attention(run);
    case ZO2_OP_GATHER_ROWS:
      return run_gather_rows(run);
    case ZO2_OP_CROSS_ENTROPY:
      return run_cross_entropy(run);
    case ZO2_OP_RMS_NORM:
      return run_rms_norm(run);
    case ZO2_OP_ROPE:
      return run_rope(run);
    case ZO2_OP_GATED_ACTIVATION:
      return run_gated_activation(run);
    case ZO2_OP_CAST:
      return run_cast(run);
    case ZO2_OP_TRANSPOSE:
      return run_transpose(run);
    default:
      return run_scatter_rows(run);
  }
}

}  // namespace

void DeviceProgram::run(const contract::RunCommand& command) const {
  const std::vector<View> all = views(command.spaces.data(), command.symbols.data());
  const OpKernels& kernels = op_kernels(device_->vectorised());
  std::vector<View> named;
  for (size_t i = 0; i < ops().size(); i++) {
    const Op& op = ops()[i];
    named.clear();
    for (int operand : op.operands) named.push_back(operand >= 0 ? all[static_cast<size_t>(operand)] : View{});
    dispatch({op, i, named.data(), device_->pool(), kernels});
  }
}

}  // namespace zo2::cpu
