#include "cuda/commands.h"

#include "contract/commands.h"
#include "contract/span.h"
#include "cuda/ops/copy.cuh"
#include "cuda/ops/fill.cuh"
#include "cuda/ops/gather.cuh"
#include "cuda/ops/loss.cuh"
#include "cuda/ops/prepare.cuh"
#include "cuda/program_run.h"
#include "cuda/runtime/buffer.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"
#include "disk/gather.h"
#include "disk/move.h"
#include "disk/seal.h"

namespace zo2::cuda {
namespace {

using Counted = Stream::Counted;
using Uses = Stream::Uses;

const disk::File& file_of(const contract::Memory* buffer) { return static_cast<const Buffer*>(buffer)->file(); }

bool in_host_memory(const zo2_span& span) { return contract::memory_of(span).kind == ZO2_BUFFER_HOST; }

}  // namespace

DeviceLayout::DeviceLayout(std::shared_ptr<Device> device, const zo2_segment* list, uint64_t count)
    : contract::Layout(device.get(), list, count), device_(std::move(device)) {
  if (segments().empty()) return;
  device_->enter();
  const uint64_t bytes = segments().size() * sizeof(zo2_segment);
  on_device_ = DeviceArena(bytes);
  on_device_.upload(segments().data(), bytes);
}

DeviceLayout::~DeviceLayout() { device_->enter_quietly(); }

void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  Device& device = stream.device();
  if (contract::in_file(dst) || contract::in_file(src)) {
    const contract::FileCopyCommand command = contract::resolve_file_copy(&device, dst, src, bytes);
    return stream.file_command([&device, command] { disk::move_bytes(device.files(), file_of(command.file), command); },
                               {command.memory, command.bytes, !command.write});
  }
  const contract::CopyCommand command = contract::resolve_copy(&device, dst, src, bytes);
  if (in_host_memory(dst) && in_host_memory(src)) {
    stream.command(Counted::kCommand, Uses::kKernels,
                   [&](const Launch& launch) { ZO2_CUDA_LAUNCH("copy", launch_copy(launch, command)); });
    return;
  }
  stream.command(Counted::kCommand, Uses::kCopies, [&](const Launch& launch) {
    if (command.bytes == 0) return;
    ZO2_CUDA_CHECK(cudaMemcpyAsync(command.to, command.from, command.bytes, cudaMemcpyDefault, launch.stream));
  });
}

void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes) {
  const contract::FillCommand command = contract::resolve_fill(&stream.device(), dst, byte, bytes);
  stream.command(Counted::kCommand, Uses::kKernels,
                 [&](const Launch& launch) { ZO2_CUDA_LAUNCH("fill", launch_fill(launch, command)); });
}

void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count,
                    int64_t row_base, uint64_t row_bytes) {
  Device& device = stream.device();
  if (contract::in_file(src)) {
    const contract::FileGatherCommand command =
        contract::resolve_file_gather(&device, dst, src, rows, count, row_base, row_bytes);
    return stream.file_command(
        [&device, command] { disk::gather_rows(device.files(), file_of(command.file), command); },
        {command.to, command.count * command.row_bytes, true});
  }
  const contract::GatherCommand command = contract::resolve_gather(&device, dst, src, rows, count, row_base, row_bytes);
  stream.command(Counted::kCommand, Uses::kKernels,
                 [&](const Launch& launch) { ZO2_CUDA_LAUNCH("gather", launch_gather(launch, command)); });
}

void enqueue_seal(Stream& stream, const zo2_span& seal, uint64_t index, const zo2_span& memory, uint64_t bytes,
                  const zo2_span& note) {
  Device& device = stream.device();
  const contract::SealCommand command = contract::resolve_seal(&device, seal, index, memory, bytes, note);
  stream.file_command([&device, command] { disk::write_seal(device.files(), file_of(command.file), command); },
                      {command.memory, command.bytes, false});
}

void enqueue_prepare(Stream& stream, const zo2_prepare_args& args) {
  const contract::PrepareCommand command = contract::resolve_prepare(&stream.device(), args);
  stream.command(Counted::kLaunch, Uses::kKernels, [&](const Launch& launch) {
    PrepareResources resources{};
    resources.segments = static_cast<const DeviceLayout*>(command.layout)->on_device();
    resources.tally = stream.tally();
    if (command.updates.size() > kInlineUpdates) {
      resources.updates = static_cast<const contract::PendingUpdate*>(
          stream.table(launch, command.updates.data(), command.updates.size() * sizeof(contract::PendingUpdate)));
    }
    ZO2_CUDA_LAUNCH("prepare", launch_prepare(launch, command, resources));
  });
}

void enqueue_run(Stream& stream, const zo2_run_args& args) {
  const contract::RunCommand command = contract::resolve_run(&stream.device(), args);
  const auto& program = *static_cast<const DeviceProgram*>(command.program);
  stream.command(Counted::kLaunch, Uses::kKernels,
                 [&](const Launch& launch) { program.run(launch, command, stream.scratch(program.scratch_bytes())); });
}

void enqueue_loss(Stream& stream, const zo2_loss_args& args) {
  const contract::LossCommand command = contract::resolve_loss(&stream.device(), args);
  stream.command(Counted::kLaunch, Uses::kKernels,
                 [&](const Launch& launch) { ZO2_CUDA_LAUNCH("loss", launch_loss(launch, command)); });
}

void enqueue_gradient(Stream& stream, const zo2_gradient_args& args) {
  const contract::GradientCommand command = contract::resolve_gradient(&stream.device(), args);
  stream.command(Counted::kLaunch, Uses::kKernels,
                 [&](const Launch& launch) { ZO2_CUDA_LAUNCH("gradient", launch_gradient(launch, command)); });
}

}  // namespace zo2::cuda
