// Bytes on their way between memory and a file: in pieces, several at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "disk/file.h"

namespace zo2::disk {

enum class Direction { kRead, kWrite };

struct Piece {
  uint64_t offset;  // in the file
  uint8_t* memory;
  uint64_t bytes;
};

// The longest piece: no piece lies in more blocks than these bytes have. Large enough that a call costs nothing beside
// what it moves, small enough that several are under way in what one unit has.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

// So many pieces are under way at a time. A drive needs several to be at its best; more only wait in its queue.
constexpr unsigned kInFlight = 8;

// Of one file, in one direction. Of a direct file every piece is whole blocks, in memory that begins at a multiple of
// kBlock. No two pieces share a byte. What a piece has beyond the end of a file that was opened is left as it is.
struct Transfer {
  const File& file;
  Direction direction;
  std::vector<Piece> pieces;
  // Reads of a direct file, of pieces that are no whole blocks or go to another place in a block of memory: each comes
  // with all of its blocks, to memory of whoever moves it, and is copied from there while others are under way.
  bool through = false;
};

// The blocks that a piece lies in, on their way to `memory`, which has room for kPieceBytes.
Piece cover_of(const Piece& piece, uint8_t* memory);
// Copies a piece out of its blocks.
void deliver(const Piece& piece, const uint8_t* blocks);

// The same bytes, cut where a multiple of kPieceBytes begins in the file.
std::vector<Piece> cut(std::vector<Piece> pieces);

// Where a transfer failed. `error`: an errno; 0: the file ended.
struct Fault {
  Piece piece;
  int error;
};

// Throws Failure(IO) that names the file, the place and the system's reason.
[[noreturn]] void fail_transfer(const Transfer& transfer, const Fault& fault);

// Whether nothing of a piece is left to be moved.
inline bool is_done(const File& file, Direction direction, const Piece& left) {
  return left.bytes == 0 || (direction == Direction::kRead && left.offset >= file.end());
}

// Reads or writes all of a piece with calls that block. Whether it went well; if not, `fault` says where it stopped.
bool move_piece(const File& file, Direction direction, Piece piece, Fault* fault);

}  // namespace zo2::disk
