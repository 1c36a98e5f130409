#include "disk/gather.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "contract/fault.h"
#include "disk/bounce.h"
#include "disk/move.h"

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

// Rows first .. first + count - 1, each with the blocks that it lies in.
void gather_through(Engine& engine, const File& file, const FileGatherCommand& command, uint64_t first, uint64_t count,
                    uint64_t room, uint8_t* bounce) {
  std::vector<Piece> covers;
  covers.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const Piece row = row_of(command, first + i);
    const uint64_t begin = row.offset / kBlock * kBlock;
    covers.push_back({begin, bounce + i * room, round_up(row.offset + row.bytes, kBlock) - begin});
  }
  engine.run({file, Direction::kRead, covers});
  for (uint64_t i = 0; i < count; ++i) {
    const Piece row = row_of(command, first + i);
    std::memcpy(row.memory, covers[i].memory + (row.offset - covers[i].offset), row.bytes);
  }
}

}  // namespace

void gather_rows(Engine& engine, const File& file, const FileGatherCommand& command) {
  const Engine::Use use(engine);
  check_rows(command);
  if (command.count == 0) return;
  if (!file.direct() || rows_are_blocks(command)) {
    std::vector<Piece> pieces;
    pieces.reserve(command.count);
    for (uint64_t i = 0; i < command.count; ++i) pieces.push_back(row_of(command, i));
    return engine.run({file, Direction::kRead, std::move(pieces)});
  }
  // The most that one row's blocks take.
  const uint64_t room = round_up(command.row_bytes, kBlock) + kBlock;
  if (room > kBounceBytes) {
    for (uint64_t i = 0; i < command.count; ++i) {
      const Piece row = row_of(command, i);
      move_bytes(engine, file, {command.file, row.offset, row.memory, row.bytes, false});
    }
    return;
  }
  const uint64_t at_once = std::min(command.count, kBounceBytes / room);
  const Bounce bounce = make_bounce(at_once * room);
  for (uint64_t first = 0; first < command.count; first += at_once) {
    gather_through(engine, file, command, first, std::min(at_once, command.count - first), room, bounce.get());
  }
}

}  // namespace zo2::disk
