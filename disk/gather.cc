#include "disk/gather.h"

#include <utility>
#include <vector>

#include "contract/fault.h"

namespace zo2::disk {
namespace {

using contract::FaultKind;
using contract::FileGatherCommand;

void check_rows(const FileGatherCommand& command) {
  for (uint64_t i = 0; i < command.count; ++i) {
    const int64_t row = command.rows[i];
    const uint64_t place = static_cast<uint64_t>(row) - static_cast<uint64_t>(command.row_base);
    if (row >= command.row_base && place < command.present) continue;
    contract::fail_with({FaultKind::kGatherRow, 0, i, {row, static_cast<int64_t>(command.present), command.row_base}});
  }
}

// Where row i lies in the file, and where it goes.
Piece row_of(const FileGatherCommand& command, uint64_t i) {
  const uint64_t place = static_cast<uint64_t>(command.rows[i] - command.row_base);
  return {command.offset + place * command.row_bytes, command.to + i * command.row_bytes, command.row_bytes};
}

// Whether every row is whole blocks at both sides.
bool rows_are_blocks(const FileGatherCommand& command) {
  return (command.offset | reinterpret_cast<uintptr_t>(command.to) | command.row_bytes) % kBlock == 0;
}

}  // namespace

void gather_rows(Engine& engine, const File& file, const FileGatherCommand& command) {
  const Engine::Use use(engine);
  check_rows(command);
  if (command.count == 0) return;
  std::vector<Piece> rows;
  rows.reserve(command.count);
  for (uint64_t i = 0; i < command.count; ++i) rows.push_back(row_of(command, i));
  engine.run({file, Direction::kRead, std::move(rows), file.direct() && !rows_are_blocks(command)});
}

}  // namespace zo2::disk
