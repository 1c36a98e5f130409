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

// So many pieces are under way at a time. A drive needs several to be at its best; more only wait in its queue.
constexpr unsigned kInFlight = 8;

// Of one file, in one direction. Of a direct file every piece is whole blocks, in memory that begins at a multiple of
// kBlock. No two pieces share a byte. What a piece has beyond the end of a file that was opened is left as it is.
struct Transfer {
  const File& file;
  Direction direction;
  std::vector<Piece> pieces;
};

// The same bytes in pieces of a size that is worth being under way.
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
