// Runs the ops of a case by the launchers of cuda/ops, past the contract: with any traits of a device, and with the
// kernels of a test's choice. Every operand lies in an allocation of its own that ends with its last element, so that
// an access beyond it is one beyond the allocation too.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

// Before CUDA's headers, whose words those of the standard library use as well.
#include "op_case.h"

#include "contract/status.h"
#include "cuda/ops/attention.cuh"
#include "cuda/ops/cast.cuh"
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
#include "cuda_rig.h"

namespace zo2::test {

// The memory of a case's operands on the device.
class DeviceOperands {
 public:
  DeviceOperands(const OpCase& test, OpCase::Spaces& memory) : memory_(memory) {
    std::vector<Piece> all;
    for (const contract::Operand& o : test.operands()) all.push_back(piece_of(test, o));
    // Slices of one matrix share its allocation.
    std::vector<Piece> sorted = all;
    std::sort(sorted.begin(), sorted.end(), [](const Piece& a, const Piece& b) {
      return a.space != b.space ? a.space < b.space : a.begin < b.begin;
    });
    for (const Piece& piece : sorted) {
      if (!pieces_.empty() && pieces_.back().space == piece.space && piece.begin < pieces_.back().end) {
        pieces_.back().end = std::max(pieces_.back().end, piece.end);
      } else {
        pieces_.push_back(piece);
      }
    }
    for (Piece& piece : pieces_) {
      std::vector<uint8_t> bytes(piece.lead() + piece.bytes(), kUnused);
      const auto from = memory_[piece.space].begin();
      std::copy(from + static_cast<long>(piece.begin), from + static_cast<long>(piece.end),
                bytes.begin() + static_cast<long>(piece.lead()));
      MUST(cudaMalloc(&piece.data, std::max<size_t>(bytes.size(), 1)));
      copy_and_wait(piece.data, bytes.data(), bytes.size());
    }
    for (size_t i = 0; i < all.size(); i++) {
      const contract::Operand& o = test.operands()[i];
      matrices_.push_back({address(all[i]), o.dtype, test.rows(static_cast<int>(i)), o.cols, o.stride});
    }
  }
  ~DeviceOperands() {
    for (const Piece& piece : pieces_) MUST(cudaFree(piece.data));
  }
  DeviceOperands(const DeviceOperands&) = delete;
  DeviceOperands& operator=(const DeviceOperands&) = delete;

  // Absent for -1.
  cuda::Matrix operator[](double operand) const {
    return operand < 0 ? cuda::Matrix{} : matrices_[static_cast<size_t>(operand)];
  }

  // Brings everything back. False when something before an operand changed.
  bool read_back() {
    bool intact = true;
    for (const Piece& piece : pieces_) {
      std::vector<uint8_t> bytes(piece.lead() + piece.bytes());
      MUST(cudaMemcpy(bytes.data(), piece.data, bytes.size(), cudaMemcpyDeviceToHost));
      for (size_t i = 0; i < piece.lead(); i++) intact = intact && bytes[i] == kUnused;
      std::copy(bytes.begin() + static_cast<long>(piece.lead()), bytes.end(),
                memory_[piece.space].begin() + static_cast<long>(piece.begin));
    }
    return intact;
  }

 private:
  static constexpr uint8_t kUnused = 0xff;

  // Bytes begin .. end - 1 of a space, at the same distance from a multiple of 256 as there.
  struct Piece {
    size_t space;
    uint64_t begin, end;
    void* data = nullptr;
    uint64_t lead() const { return begin % 256; }
    uint64_t bytes() const { return end - begin; }
  };

  static Piece piece_of(const OpCase& test, const contract::Operand& o) {
    const int64_t rows = test.rows(static_cast<int>(&o - test.operands().data()));
    const int64_t elements = rows == 0 || o.cols == 0 ? 0 : (rows - 1) * o.stride + o.cols;
    return {static_cast<size_t>(o.space), o.offset,
            o.offset + static_cast<uint64_t>(elements) * contract::dtype_bytes(o.dtype)};
  }

  uint8_t* address(const Piece& of) const {
    for (const Piece& piece : pieces_) {
      if (piece.space == of.space && of.begin >= piece.begin && of.end <= piece.end)
        return static_cast<uint8_t*>(piece.data) + piece.lead() + (of.begin - piece.begin);
    }
    return nullptr;
  }

  OpCase::Spaces& memory_;
  std::vector<Piece> pieces_;
  std::vector<cuda::Matrix> matrices_;
};

// Launches one op; `words` as in a program.
using OpLauncher = std::function<cudaError_t(const cuda::Launch&, const OpCase::Op&, const DeviceOperands&)>;

inline cuda::LinearArgs linear_args(const OpCase::Op& op, const DeviceOperands& m) {
  const std::vector<double>& w = op.words;
  return {m[w[0]], m[w[1]], m[w[2]], m[w[3]], m[w[4]], static_cast<int>(w[5]), static_cast<float>(w[6]), w[7] != 0};
}

inline cuda::AttentionArgs attention_args(const OpCase::Op& op, const DeviceOperands& m) {
  const std::vector<double>& w = op.words;
  const auto integer = [&](size_t i) { return static_cast<int64_t>(w[i]); };
  return {m[w[0]], m[w[1]], m[w[2]], m[w[3]], m[w[4]], integer(5), integer(6), static_cast<float>(w[7]), integer(8)};
}

inline cudaError_t launch_cross_entropy_op(const cuda::Launch& launch, const OpCase::Op& op, const DeviceOperands& m) {
  const std::vector<double>& w = op.words;
  cuda::CrossEntropyArgs args{};
  args.logprob = m[w[0]];
  args.state = m[w[1]];
  args.x = m[w[2]];
  args.weight = m[w[3]];
  args.targets = m[w[4]];
  args.vocab_start = static_cast<int64_t>(w[5]);
  args.tile_flags = static_cast<int>(w[6]);
  args.scratch_bytes = cuda::cross_entropy_scratch_bytes(args.x.rows, args.weight.rows, *launch.traits);
  const Guarded scratch(args.scratch_bytes);
  args.scratch = scratch.at();
  const cudaError_t launched = cuda::launch_cross_entropy(launch, args);
  MUST(cudaStreamSynchronize(launch.stream));
  CHECK(scratch.intact(), "crossEntropy wrote outside of its scratch");
  return launched;
}

inline cudaError_t launch_rope_op(const cuda::Launch& launch, const OpCase::Op& op, const DeviceOperands& m) {
  const std::vector<double>& w = op.words;
  const Guarded frequencies(std::vector<float>(w.begin() + 7, w.end()));
  const cudaError_t launched =
      cuda::launch_rope(launch, {m[w[0]], m[w[1]], m[w[2]], static_cast<int64_t>(w[3]), static_cast<int64_t>(w[4]),
                                 static_cast<float>(w[5]), frequencies.at<float>()});
  MUST(cudaStreamSynchronize(launch.stream));
  return launched;
}

// As program_run.cu does, without the checks of tables.
inline cudaError_t launch_op(const cuda::Launch& launch, const OpCase::Op& op, const DeviceOperands& m) {
  const std::vector<double>& w = op.words;
  const auto integer = [&](size_t i) { return static_cast<int64_t>(w[i]); };
  const auto real = [&](size_t i) { return static_cast<float>(w[i]); };
  switch (op.opcode) {
    case ZO2_OP_EMBED:
      return cuda::launch_embed(launch, {m[w[0]], m[w[1]], m[w[2]], integer(3), integer(4), w[5] != 0});
    case ZO2_OP_LINEAR:
      return cuda::launch_linear(launch, linear_args(op, m));
    case ZO2_OP_LAYER_NORM:
      return cuda::launch_layer_norm(launch, {m[w[0]], m[w[1]], m[w[2]], m[w[3]], real(4)});
    case ZO2_OP_ATTENTION:
      return cuda::launch_attention(launch, attention_args(op, m));
    case ZO2_OP_GATHER_ROWS:
      return cuda::launch_gather_rows(launch, {m[w[0]], m[w[1]], m[w[2]]});
    case ZO2_OP_CROSS_ENTROPY:
      return launch_cross_entropy_op(launch, op, m);
    case ZO2_OP_RMS_NORM:
      return cuda::launch_rms_norm(launch, {m[w[0]], m[w[1]], m[w[2]], real(3)});
    case ZO2_OP_ROPE:
      return launch_rope_op(launch, op, m);
    case ZO2_OP_GATED_ACTIVATION:
      return cuda::launch_gated_activation(launch, {m[w[0]], m[w[1]], m[w[2]], static_cast<int>(w[3])});
    case ZO2_OP_CAST:
      return cuda::launch_cast(launch, {m[w[0]], m[w[1]]});
    case ZO2_OP_TRANSPOSE:
      return cuda::launch_transpose(launch, {m[w[0]], m[w[1]]});
    case ZO2_OP_SCATTER_ROWS:
      return cuda::launch_scatter_rows(launch, {m[w[0]], m[w[1]], m[w[2]]});
    default:
      return cudaErrorNotSupported;
  }
}

// How the kernels of a case are run.
struct Kernels {
  const char* name = "kernels";
  cuda::Traits traits = {90, 132, 227 << 10, false};
  OpLauncher launch = launch_op;
  bool tf32 = false;            // products with an fp32 weight are in tf32
  bool rounds_softmax = false;  // attention rounds its weights to a 16-bit dtype
};

// Twice: the second time with the bits of the first.
inline std::vector<OpCase::Way> kernel_ways(CudaRig& rig, const OpCase& test, const Kernels& kernels) {
  OpCase::Way way;
  way.name = kernels.name;
  way.cuda = true;
  way.tf32 = kernels.tf32;
  way.rounds_softmax = kernels.rounds_softmax;
  way.run = [&rig, &test, &kernels](OpCase::Spaces& memory) {
    DeviceOperands operands(test, memory);
    cuda::Launch at = rig.launch();
    at.traits = &kernels.traits;
    zo2_error ended{};
    for (const OpCase::Op& op : test.ops()) {
      cudaError_t status = kernels.launch(at, op, operands);
      if (status == cudaSuccess) status = cudaStreamSynchronize(at.stream);
      if (status == cudaSuccess) continue;
      contract::write_error(&ended, ZO2_STATUS_DEVICE, cudaGetErrorString(status));
      break;
    }
    CHECK(operands.read_back(), "%s: bytes before an operand changed", test.name().c_str());
    return ended;
  };
  OpCase::Way again = way;
  again.name += " again";
  again.same_bits = true;
  return {way, again};
}

inline Runner through_kernels(CudaRig& rig, const Kernels& kernels) {
  return [&rig, kernels](OpCase& test, const std::function<void()>& verify) {
    test.run(kernel_ways(rig, test, kernels), verify);
  };
}

// On a stream that failed before, where nothing may be written.
inline Runner through_poisoned_kernels(CudaRig& rig, const Kernels& kernels) {
  return [&rig, kernels](OpCase& test, const std::function<void()>&) {
    rig.poison();
    test.run_skipped({kernel_ways(rig, test, kernels)[0]});
    rig.clear();
  };
}

}  // namespace zo2::test
