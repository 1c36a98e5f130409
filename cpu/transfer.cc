#include "cpu/transfer.h"

#include <cstring>

#include "cpu/contract.h"
#include "cpu/runtime/device.h"

namespace zo2::cpu {

void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  const contract::CopyCommand command = contract::resolve_copy(&stream.device(), dst, src, bytes);
  stream.work(Stream::Counted::kCommand, [command] {
    if (command.bytes != 0) std::memcpy(command.to, command.from, command.bytes);
  });
}

void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes) {
  const contract::FillCommand command = contract::resolve_fill(&stream.device(), dst, byte, bytes);
  stream.work(Stream::Counted::kCommand, [command] {
    if (command.bytes != 0) std::memset(command.to, command.byte, command.bytes);
  });
}

void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count,
                    int64_t row_base, uint64_t row_bytes) {
  const contract::GatherCommand command =
      contract::resolve_gather(&stream.device(), dst, src, rows, count, row_base, row_bytes);
  stream.work(Stream::Counted::kCommand, [command] {
    const uint64_t bytes = command.count * command.row_bytes;
    for (uint64_t i = 0; i < command.count; ++i) {
      const int64_t row = command.rows[i];
      const uint64_t place = static_cast<uint64_t>(row) - static_cast<uint64_t>(command.row_base);
      if (row < command.row_base || place >= command.present) {
        fail_with({FaultKind::kGatherRow, 0, i, {row, static_cast<int64_t>(command.present), command.row_base}});
      }
      const uint8_t* const source = command.from + place * command.row_bytes;
      if (overlap(command.to, bytes, source, command.row_bytes)) fail_with({FaultKind::kGatherOverlap, 0, i, {row}});
      std::memcpy(command.to + i * command.row_bytes, source, command.row_bytes);
    }
  });
}

}  // namespace zo2::cpu
