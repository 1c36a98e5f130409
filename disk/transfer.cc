#include "disk/transfer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "contract/status.h"

namespace zo2::disk {
namespace {

// From the beginning of a piece to where it is cut, or ends.
uint64_t first_part(const Piece& piece) { return std::min(piece.bytes, kPieceBytes - piece.offset % kPieceBytes); }

}  // namespace

Piece cover_of(const Piece& piece, uint8_t* memory) {
  const uint64_t begin = piece.offset / kBlock * kBlock;
  return {begin, memory, round_up(piece.offset + piece.bytes, kBlock) - begin};
}

void deliver(const Piece& piece, const uint8_t* blocks) {
  std::memcpy(piece.memory, blocks + piece.offset % kBlock, piece.bytes);
}

std::vector<Piece> cut(std::vector<Piece> pieces) {
  const auto is_whole = [](const Piece& piece) { return first_part(piece) == piece.bytes; };
  if (std::all_of(pieces.begin(), pieces.end(), is_whole)) return pieces;
  std::vector<Piece> shorter;
  for (Piece left : pieces) {
    while (left.bytes > 0) {
      const uint64_t bytes = first_part(left);
      shorter.push_back({left.offset, left.memory, bytes});
      left = {left.offset + bytes, left.memory + bytes, left.bytes - bytes};
    }
  }
  return shorter;
}

void fail_transfer(const Transfer& transfer, const Fault& fault) {
  const char* const what = transfer.direction == Direction::kRead ? "reading" : "writing";
  contract::fail(ZO2_STATUS_IO, "%s %" PRIu64 " bytes at offset %" PRIu64 " of a file buffer failed: %s: %s", what,
                 fault.piece.bytes, fault.piece.offset,
                 fault.error == 0 ? "the file ends there, so somebody has cut it" : reason(fault.error).c_str(),
                 transfer.file.place().c_str());
}

bool move_piece(const File& file, Direction direction, Piece piece, Fault* fault) {
  while (!is_done(file, direction, piece)) {
    const auto offset = static_cast<off_t>(piece.offset);
    const ssize_t count = direction == Direction::kRead ? pread(file.descriptor(), piece.memory, piece.bytes, offset)
                                                        : pwrite(file.descriptor(), piece.memory, piece.bytes, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      *fault = {piece, count == 0 ? 0 : errno};
      return false;
    }
    piece = {piece.offset + static_cast<uint64_t>(count), piece.memory + count,
             piece.bytes - static_cast<uint64_t>(count)};
  }
  return true;
}

}  // namespace zo2::disk
