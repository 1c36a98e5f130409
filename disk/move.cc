#include "disk/move.h"

#include <algorithm>
#include <cstring>

#include "disk/bounce.h"

namespace zo2::disk {
namespace {

using contract::FileCopyCommand;

Direction direction_of(const FileCopyCommand& command) { return command.write ? Direction::kWrite : Direction::kRead; }

// Bytes of one block, and not all of them.
void write_part(const File& file, const Piece& part) {
  const Bounce block = make_bounce(kBlock);
  const uint64_t begin = part.offset / kBlock * kBlock;
  const Piece whole = {begin, block.get(), kBlock};
  uint8_t* const inside = block.get() + (part.offset - begin);
  const auto move = [&](Direction way) {
    Fault fault{};
    if (!move_piece(file, way, whole, &fault))
      fail_transfer({file, way, {}}, {{part.offset, nullptr, part.bytes}, fault.error});
  };
  std::lock_guard<std::mutex> lock(file.changing());
  move(Direction::kRead);
  std::memcpy(inside, part.memory, part.bytes);
  move(Direction::kWrite);
}

// Whole blocks, from memory that begins anywhere.
void write_through(Engine& engine, const File& file, Piece blocks) {
  const Bounce bounce = make_bounce(std::min(kBounceBytes, blocks.bytes));
  while (blocks.bytes > 0) {
    const uint64_t bytes = std::min(kBounceBytes, blocks.bytes);
    std::memcpy(bounce.get(), blocks.memory, bytes);
    engine.run({file, Direction::kWrite, {{blocks.offset, bounce.get(), bytes}}});
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
  const auto take = [&](uint64_t bytes) {
    const Piece first = {left.offset, left.memory, bytes};
    left = {left.offset + bytes, left.memory + bytes, left.bytes - bytes};
    return first;
  };
  const auto in_block = [](const uint8_t* memory) { return reinterpret_cast<uintptr_t>(memory) % kBlock; };
  if (direction == Direction::kRead && in_block(left.memory) != left.offset % kBlock)
    return engine.run({file, direction, {left}, true});
  while (left.bytes > 0) {
    if (left.offset % kBlock != 0 || left.bytes < kBlock) {
      const Piece part = take(std::min(left.bytes, kBlock - left.offset % kBlock));
      if (direction == Direction::kRead) {
        engine.run({file, direction, {part}, true});
      } else {
        write_part(file, part);
      }
      continue;
    }
    const Piece blocks = take(left.bytes / kBlock * kBlock);
    if (in_block(blocks.memory) == 0) {
      engine.run({file, direction, {blocks}});
    } else {
      write_through(engine, file, blocks);
    }
  }
}

}  // namespace zo2::disk
