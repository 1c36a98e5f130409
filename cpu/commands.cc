#include "cpu/commands.h"

#include <cstring>
#include <memory>

#include "contract/commands.h"
#include "contract/span.h"
#include "cpu/ops/gather.h"
#include "cpu/ops/loss.h"
#include "cpu/ops/prepare.h"
#include "cpu/program_run.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/device.h"
#include "disk/gather.h"
#include "disk/move.h"
#include "disk/seal.h"

namespace zo2::cpu {
namespace {

using Counted = Stream::Counted;

const disk::File& file_of(const contract::Memory* buffer) { return static_cast<const Buffer*>(buffer)->file(); }

}  // namespace

void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  Device& device = stream.device();
  if (contract::in_file(dst) || contract::in_file(src)) {
    const contract::FileCopyCommand command = contract::resolve_file_copy(&device, dst, src, bytes);
    return stream.command(Counted::kCommand,
                          [&device, command] { disk::move_bytes(device.files(), file_of(command.file), command); });
  }
  const contract::CopyCommand command = contract::resolve_copy(&device, dst, src, bytes);
  stream.command(Counted::kCommand, [command] {
    if (command.bytes != 0) std::memcpy(command.to, command.from, command.bytes);
  });
}

void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes) {
  const contract::FillCommand command = contract::resolve_fill(&stream.device(), dst, byte, bytes);
  stream.command(Counted::kCommand, [command] {
    if (command.bytes != 0) std::memset(command.to, command.byte, command.bytes);
  });
}

void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count,
                    int64_t row_base, uint64_t row_bytes) {
  Device& device = stream.device();
  if (contract::in_file(src)) {
    const contract::FileGatherCommand command =
        contract::resolve_file_gather(&device, dst, src, rows, count, row_base, row_bytes);
    return stream.command(Counted::kCommand,
                          [&device, command] { disk::gather_rows(device.files(), file_of(command.file), command); });
  }
  const contract::GatherCommand command = contract::resolve_gather(&device, dst, src, rows, count, row_base, row_bytes);
  stream.command(Counted::kCommand, [command] { run_gather(command); });
}

void enqueue_seal(Stream& stream, const zo2_span& seal, uint64_t index, const zo2_span& memory, uint64_t bytes,
                  const zo2_span& note) {
  Device& device = stream.device();
  const contract::SealCommand command = contract::resolve_seal(&device, seal, index, memory, bytes, note);
  stream.command(Counted::kCommand,
                 [&device, command] { disk::write_seal(device.files(), file_of(command.file), command); });
}

void enqueue_prepare(Stream& stream, const zo2_prepare_args& args) {
  Device& device = stream.device();
  // Shared, because std::function copies; the list of updates is copied once.
  const auto command = std::make_shared<const contract::PrepareCommand>(contract::resolve_prepare(&device, args));
  stream.command(Counted::kLaunch, [&device, command] { run_prepare(*command, device.pool(), !device.vectorised()); });
}

void enqueue_run(Stream& stream, const zo2_run_args& args) {
  const contract::RunCommand command = contract::resolve_run(&stream.device(), args);
  const auto& program = *static_cast<const DeviceProgram*>(command.program);
  stream.command(Counted::kLaunch, [&program, command] { program.run(command); });
}

void enqueue_loss(Stream& stream, const zo2_loss_args& args) {
  const contract::LossCommand command = contract::resolve_loss(&stream.device(), args);
  stream.command(Counted::kLaunch, [command] { run_loss(command); });
}

void enqueue_gradient(Stream& stream, const zo2_gradient_args& args) {
  const contract::GradientCommand command = contract::resolve_gradient(&stream.device(), args);
  stream.command(Counted::kLaunch, [command] { run_gradient(command); });
}

}  // namespace zo2::cpu
