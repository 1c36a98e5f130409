#include "cuda/program_run.h"

#include <algorithm>
#include <cinttypes>
#include <utility>

#include "contract/names.h"
#include "contract/status.h"
#include "cuda/ops/attention.cuh"
#include "cuda/ops/cast.cuh"
#include "cuda/ops/check.cuh"
#include "cuda/ops/cross_entropy.cuh"
#include "cuda/ops/embed.cuh"
#include "cuda/ops/gated_activation.cuh"
#include "cuda/ops/gather_rows.cuh"
#include "cuda/ops/layer_norm.cuh"
#include "cuda/ops/linear.cuh"
#include "cuda/ops/rms_norm.cuh"
#include "cuda/ops/rope.cuh"
#include "cuda/ops/scatter_rows.cuh"
#include "cuda/ops/transpose.cuh"
#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"

namespace zo2::cuda {
namespace {

using contract::Op;
using contract::Operand;
using contract::View;

// Attributes of ROPE before its frequencies: headSize, rotary, scaling, count.
constexpr size_t kRopeAttributes = 4;

Matrix matrix(const View& view) { return {view.data, view.dtype, view.rows, view.cols, view.stride}; }

// The run under way.
struct Run {
  const Launch& launch;
  std::vector<View> views;  // by operand
  void* scratch;
  uint64_t scratch_bytes;
  const float* frequencies;  // of all ropes
  // A table that has been checked: its operand, and the rows that its entries may name (of attention those of q, and of
  // k).
  struct Checked {
    int table;
    int64_t rows, key_rows;

    bool operator==(const Checked& other) const {
      return table == other.table && rows == other.rows && key_rows == other.key_rows;
    }
  };
  std::vector<Checked> checked;

  Matrix operand(const Op& op, size_t i) const {
    return op.operands[i] < 0 ? Matrix{} : matrix(views[static_cast<size_t>(op.operands[i])]);
  }

  // Whether the table `i` of the op, whose entries name rows of matrices of so many, is to be checked now: one check
  // serves all ops of a run.
  bool first_use(const Op& op, size_t i, int64_t rows, int64_t key_rows = 0) {
    const Checked use = {op.operands[i], rows, key_rows};
    if (std::find(checked.begin(), checked.end(), use) != checked.end()) return false;
    checked.push_back(use);
    return true;
  }
};

const int32_t* entries(const Matrix& table) { return static_cast<const int32_t*>(table.data); }

AttentionArgs attention_args(const Op& op, const Matrix& out, const Matrix& q, const Matrix& k, const Matrix& v,
                             const Matrix& sequences) {
  return {out, q, k, v, sequences, op.integer(0), op.integer(1), op.real(2), op.integer(3)};
}

cudaError_t run_attention(Run& run, const Op& op, uint32_t number) {
  const AttentionArgs args = attention_args(op, run.operand(op, 0), run.operand(op, 1), run.operand(op, 2),
                                            run.operand(op, 3), run.operand(op, 4));
  const Matrix& table = args.sequences;
  if (run.first_use(op, 4, args.q.rows, args.k.rows)) {
    const SequenceLimits limits = {args.q.rows, args.k.rows, table.cols == 5};
    const cudaError_t checked =
        launch_check_sequences(run.launch, number, entries(table), table.stride, table.rows, limits);
    if (checked != cudaSuccess) return checked;
  }
  return launch_attention(run.launch, args);
}

// The index of a gather or a scatter, whose entries name some of `rows`.
cudaError_t check_index(Run& run, const Op& op, uint32_t number, const Matrix& index, int64_t rows,
                        contract::FaultKind kind) {
  if (!run.first_use(op, 2, rows)) return cudaSuccess;
  return launch_check_index(run.launch, number, entries(index), index.stride, index.rows, rows, kind);
}

cudaError_t run_gather_rows(Run& run, const Op& op, uint32_t number) {
  const GatherRowsArgs args{run.operand(op, 0), run.operand(op, 1), run.operand(op, 2)};
  const cudaError_t checked = check_index(run, op, number, args.index, args.x.rows, contract::FaultKind::kIndexRow);
  return checked != cudaSuccess ? checked : launch_gather_rows(run.launch, args);
}

cudaError_t run_scatter_rows(Run& run, const Op& op, uint32_t number) {
  const ScatterRowsArgs args{run.operand(op, 0), run.operand(op, 1), run.operand(op, 2)};
  const cudaError_t checked = check_index(run, op, number, args.index, args.out.rows, contract::FaultKind::kScatterRow);
  return checked != cudaSuccess ? checked : launch_scatter_rows(run.launch, args);
}

cudaError_t run_cross_entropy(Run& run, const Op& op, uint32_t number) {
  CrossEntropyArgs args{};
  args.logprob = run.operand(op, 0);
  args.state = run.operand(op, 1);
  args.x = run.operand(op, 2);
  args.weight = run.operand(op, 3);
  args.targets = run.operand(op, 4);
  args.vocab_start = op.integer(0);
  args.tile_flags = static_cast<int>(op.integer(1));
  args.scratch = run.scratch;
  args.scratch_bytes = run.scratch_bytes;
  if (run.first_use(op, 4, args.x.rows)) {
    const cudaError_t checked = launch_check_targets(run.launch, number, entries(args.targets), args.targets.stride,
                                                     args.targets.rows, args.x.rows);
    if (checked != cudaSuccess) return checked;
  }
  return launch_cross_entropy(run.launch, args);
}

cudaError_t run_op(Run& run, const Op& op, uint32_t number, uint64_t first_frequency) {
  const Launch& launch = run.launch;
  const auto m = [&](size_t i) { return run.operand(op, i); };
  switch (op.opcode) {
    case ZO2_OP_EMBED:
      return launch_embed(launch, {m(0), m(1), m(2), op.integer(0), op.integer(1), op.integer(2) != 0});
    case ZO2_OP_LINEAR:
      return launch_linear(
          launch, {m(0), m(1), m(2), m(3), m(4), static_cast<int>(op.integer(0)), op.real(1), op.integer(2) != 0});
    case ZO2_OP_LAYER_NORM:
      return launch_layer_norm(launch, {m(0), m(1), m(2), m(3), op.real(0)});
    case ZO2_OP_ATTENTION:
      return run_attention(run, op, number);
    case ZO2_OP_GATHER_ROWS:
      return run_gather_rows(run, op, number);
    case ZO2_OP_CROSS_ENTROPY:
      return run_cross_entropy(run, op, number);
    case ZO2_OP_RMS_NORM:
      return launch_rms_norm(launch, {m(0), m(1), m(2), op.real(0)});
    case ZO2_OP_ROPE:
      return launch_rope(
          launch, {m(0), m(1), m(2), op.integer(0), op.integer(1), op.real(2), run.frequencies + first_frequency});
    case ZO2_OP_GATED_ACTIVATION:
      return launch_gated_activation(launch, {m(0), m(1), m(2), static_cast<int>(op.integer(0))});
    case ZO2_OP_CAST:
      return launch_cast(launch, {m(0), m(1)});
    case ZO2_OP_TRANSPOSE:
      return launch_transpose(launch, {m(0), m(1)});
    case ZO2_OP_SCATTER_ROWS:
      return run_scatter_rows(run, op, number);
    default:
      return cudaErrorNotSupported;
  }
}

// An operand at its largest, without its memory.
Matrix shape(const contract::Program& program, const Op& op, size_t i) {
  if (op.operands[i] < 0) return {};
  const Operand& o = program.operands()[static_cast<size_t>(op.operands[i])];
  const int64_t rows =
      o.rows >= 0 ? o.rows : static_cast<int64_t>(program.symbol_maximum(static_cast<int>(-1 - o.rows)));
  return {nullptr, o.dtype, rows, o.cols, o.stride};
}

// Refuses what the launchers would refuse when the program runs.
void check_supported(const contract::Program& program, const Op& op, size_t number) {
  if (op.opcode < ZO2_OP_EMBED || op.opcode > ZO2_OP_SCATTER_ROWS) {
    contract::fail(ZO2_STATUS_UNSUPPORTED, "op %zu (%s): the CUDA backend has no kernel for it", number,
                   contract::kOpNames[op.opcode]);
  }
  if (op.opcode != ZO2_OP_ATTENTION) return;
  const AttentionArgs args = attention_args(op, shape(program, op, 0), shape(program, op, 1), shape(program, op, 2),
                                            shape(program, op, 3), shape(program, op, 4));
  const char* const reason = attention_unsupported(args);
  if (reason == nullptr) return;
  contract::fail(ZO2_STATUS_UNSUPPORTED,
                 "op %zu (%s): heads of %" PRId64 " columns are not supported by the CUDA backend: %s", number,
                 contract::kOpNames[op.opcode], args.head_size(), reason);
}

}  // namespace

DeviceProgram::DeviceProgram(std::shared_ptr<Device> device, const double* words, uint64_t count,
                             const uint64_t space_bytes[ZO2_SPACES])
    : contract::Program(device.get(), words, count, space_bytes), device_(std::move(device)) {
  std::vector<float> frequencies;
  for (size_t i = 0; i < ops().size(); ++i) {
    const Op& op = ops()[i];
    check_supported(*this, op, i);
    first_frequency_.push_back(frequencies.size());
    if (op.opcode == ZO2_OP_ROPE) {
      for (size_t k = kRopeAttributes; k < op.attributes.size(); ++k) frequencies.push_back(op.real(k));
    }
    if (op.opcode == ZO2_OP_CROSS_ENTROPY) {
      const uint64_t bytes =
          cross_entropy_scratch_bytes(shape(*this, op, 2).rows, shape(*this, op, 3).rows, device_->traits());
      scratch_bytes_ = std::max(scratch_bytes_, bytes);
    }
  }
  device_->enter();
  device_->scratch().reserve(scratch_bytes_);
  if (frequencies.empty()) return;
  const uint64_t bytes = frequencies.size() * sizeof(float);
  frequencies_ = DeviceArena(bytes);
  frequencies_.upload(frequencies.data(), bytes);
}

DeviceProgram::~DeviceProgram() { device_->enter_quietly(); }

void DeviceProgram::run(const Launch& launch, const contract::RunCommand& command, void* scratch) const {
  Run run{launch,         views(command.spaces.data(), command.symbols.data()), scratch,
          scratch_bytes_, reinterpret_cast<const float*>(frequencies_.data()),  {}};
  for (size_t i = 0; i < ops().size(); ++i) {
    const cudaError_t status = run_op(run, ops()[i], static_cast<uint32_t>(i), first_frequency_[i]);
    if (status == cudaSuccess) continue;
    const std::string place = "op " + std::to_string(i) + " (" + contract::kOpNames[ops()[i].opcode] + ")";
    check_launch(status, place.c_str());
  }
}

}  // namespace zo2::cuda
