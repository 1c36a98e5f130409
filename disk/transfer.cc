#include "disk/transfer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>

#include "contract/status.h"

namespace zo2::disk {
namespace {

// A multiple of kBlock. Large enough that a call costs nothing beside what it moves, small enough that several are
// under way in what one unit has.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

}  // namespace

std::vector<Piece> cut(std::vector<Piece> pieces) {
  const auto is_long = [](const Piece& piece) { return piece.bytes > kPieceBytes; };
  if (std::none_of(pieces.begin(), pieces.end(), is_long)) return pieces;
  std::vector<Piece> shorter;
  for (const Piece& piece : pieces) {
    for (uint64_t done = 0; done < piece.bytes; done += kPieceBytes)
      shorter.push_back({piece.offset + done, piece.memory + done, std::min(kPieceBytes, piece.bytes - done)});
  }
  return shorter;
}

void fail_transfer(const Transfer& transfer, const Fault& fault) {
  const char* const what = transfer.direction == Direction::kRead ? "reading" : "writing";
  contract::fail(ZO2_STATUS_IO,
                 "%s %" PRIu64 " bytes at offset %" PRIu64 " of a file buffer failed: %s; it was made as %s", what,
                 fault.piece.bytes, fault.piece.offset,
                 fault.error == 0 ? "the file ends there, so somebody has cut it" : reason(fault.error).c_str(),
                 transfer.file.path().c_str());
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
