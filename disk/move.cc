#include "disk/move.h"

#include <algorithm>
#include <cstring>

#include "disk/bounce.h"

namespace zo2::disk {
namespace {

using contract::FileCopyCommand;

Direction direction_of(const FileCopyCommand& command) { return command.write ? Direction::kWrite : Direction::kRead; }

// Bytes of one block, and not all of them.
void move_part(const File& file, const Piece& part, Direction direction) {
  const Bounce block = make_bounce(kBlock);
  const uint64_t begin = part.offset / kBlock * kBlock;
  const Piece whole = {begin, block.get(), kBlock};
  uint8_t* const inside = block.get() + (part.offset - begin);
  const auto move = [&](Direction way) {
    Fault fault{};
    if (!move_piece(file, way, whole, &fault))
      fail_transfer({file, way, {}}, {{part.offset, nullptr, part.bytes}, fault.error});
  };
  if (direction == Direction::kRead) {
    move(Direction::kRead);
    std::memcpy(part.memory, inside, part.bytes);
    return;
  }
  std::lock_guard<std::mutex> lock(file.changing());
  move(Direction::kRead);
  std::memcpy(inside, part.memory, part.bytes);
  move(Direction::kWrite);
}

// Whole blocks, in memory that begins anywhere.
void move_through(Engine& engine, const File& file, Piece blocks, Direction direction) {
  const Bounce bounce = make_bounce(std::min(kBounceBytes, blocks.bytes));
  while (blocks.bytes > 0) {
    const uint64_t bytes = std::min(kBounceBytes, blocks.bytes);
    if (direction == Direction::kWrite) std::memcpy(bounce.get(), blocks.memory, bytes);
    engine.run({file, direction, {{blocks.offset, bounce.get(), bytes}}});
    if (direction == Direction::kRead) std::memcpy(blocks.memory, bounce.get(), bytes);
    blocks = {blocks.offset + bytes, blocks.memory + bytes, blocks.bytes - bytes};
  }
}

}  // namespace

void move_bytes(Engine& engine, const File& file, const FileCopyCommand& command) {
  const Engine::Use use(engine);
  const Direction direction = direction_of(command);
  Piece left = {command.offset, command.memory, command.bytes};
  if (left.bytes == 0) return;
  if (!file.direct()) return engine.run({file, direction, {left}});
  while (left.bytes > 0) {
    const uint64_t in_block = left.offset % kBlock;
    Piece now = left;
    if (in_block != 0 || left.bytes < kBlock) {
      now.bytes = std::min(left.bytes, kBlock - in_block);
      move_part(file, now, direction);
    } else {
      now.bytes = left.bytes / kBlock * kBlock;
      if (reinterpret_cast<uintptr_t>(now.memory) % kBlock == 0) {
        engine.run({file, direction, {now}});
      } else {
        move_through(engine, file, now, direction);
      }
    }
    left = {left.offset + now.bytes, left.memory + now.bytes, left.bytes - now.bytes};
  }
}

}  // namespace zo2::disk
