#include "disk/ring.h"

#include <liburing.h>
#include <sched.h>

#include <array>
#include <cerrno>
#include <optional>

#include "disk/bounce.h"

namespace zo2::disk {
namespace {

class LinuxRing : public Ring {
 public:
  ~LinuxRing() override {
    if (made_) io_uring_queue_exit(&ring_);
  }

  // 0, or the errno.
  int make() {
    const int status = io_uring_queue_init(kInFlight, &ring_, 0);
    made_ = status == 0;
    if (!made_) return -status;
    // Linux 5.6; before, there were reads and writes of vectors only.
    io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
    const bool known = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                       io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
    if (probe != nullptr) io_uring_free_probe(probe);
    return known ? 0 : ENOSYS;
  }

  void run(const Transfer& transfer) override {
    size_t next = 0;
    unsigned under_way = 0;
    std::optional<Fault> fault;
    std::array<unsigned, kInFlight> free{};
    unsigned free_count = kInFlight;
    for (unsigned i = 0; i < kInFlight; ++i) free[i] = i;
    const Bounce bounce = transfer.through ? make_bounce(kInFlight * kPieceBytes) : nullptr;
    const auto blocks_of = [&](unsigned place) { return bounce.get() + place * kPieceBytes; };
    for (;;) {
      while (!fault && usable_ && free_count > 0 && next < transfer.pieces.size()) {
        const unsigned place = free[--free_count];
        const Piece& piece = transfer.pieces[next++];
        whole_[place] = piece;
        pieces_[place] = transfer.through ? cover_of(piece, blocks_of(place)) : piece;
        prepare(transfer, place);
        ++under_way;
      }
      if (under_way == 0) break;
      const int status = io_uring_submit_and_wait(&ring_, 1);
      // Busy: what has ended is taken out first. Anything else: what the kernel has is still waited for, below.
      if (status < 0 && status != -EINTR && status != -EAGAIN && status != -EBUSY) {
        if (!fault) fault = Fault{transfer.pieces[next - 1], -status};
        usable_ = false;
        under_way -= io_uring_sq_ready(&ring_);
        wait_for_all(under_way);
        break;
      }
      if (status == -EAGAIN && io_uring_sq_ready(&ring_) == under_way) sched_yield();  // the kernel lacks memory
      for (io_uring_cqe* ended = nullptr; io_uring_peek_cqe(&ring_, &ended) == 0;) {
        const auto place = static_cast<unsigned>(io_uring_cqe_get_data64(ended));
        const int result = ended->res;
        io_uring_cqe_seen(&ring_, ended);
        const bool ended_well = advance(transfer, place, result, &fault) && !fault;
        if (ended_well && transfer.through) deliver(whole_[place], blocks_of(place));
        if (ended_well || fault) {
          free[free_count++] = place;
          --under_way;
        } else {
          prepare(transfer, place);
        }
      }
    }
    if (fault) fail_transfer(transfer, *fault);
  }

  bool usable() const override { return usable_; }

 private:
  void prepare(const Transfer& transfer, unsigned place) {
    const Piece& piece = pieces_[place];
    // There is a place for each that may be under way.
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    const int descriptor = transfer.file.descriptor();
    const auto bytes = static_cast<unsigned>(piece.bytes);
    if (transfer.direction == Direction::kRead) {
      io_uring_prep_read(entry, descriptor, piece.memory, bytes, piece.offset);
    } else {
      io_uring_prep_write(entry, descriptor, piece.memory, bytes, piece.offset);
    }
    io_uring_sqe_set_data64(entry, place);
  }

  // Whether the piece at `place` has come to its end, well or with a fault; if not, what is left of it is to be moved.
  bool advance(const Transfer& transfer, unsigned place, int result, std::optional<Fault>* fault) {
    Piece& piece = pieces_[place];
    if (result == -EINTR || result == -EAGAIN) return false;
    if (result <= 0) {
      if (!*fault) *fault = Fault{transfer.through ? whole_[place] : piece, -result};
      return true;
    }
    const auto count = static_cast<uint64_t>(result);
    piece = {piece.offset + count, piece.memory + count, piece.bytes - count};
    return is_done(transfer.file, transfer.direction, piece);
  }

  // The kernel must have ended with their memory before the caller gives it away.
  void wait_for_all(unsigned under_way) {
    while (under_way > 0) {
      io_uring_cqe* ended = nullptr;
      if (io_uring_wait_cqe(&ring_, &ended) != 0) continue;
      io_uring_cqe_seen(&ring_, ended);
      --under_way;
    }
  }

  io_uring ring_{};
  bool made_ = false;
  bool usable_ = true;
  std::array<Piece, kInFlight> whole_{};   // those under way, as they were given
  std::array<Piece, kInFlight> pieces_{};  // what is left of each, or of its blocks
};

}  // namespace

std::unique_ptr<Ring> make_ring(std::string* why) {
  auto ring = std::make_unique<LinuxRing>();
  const int error = ring->make();
  if (error == 0) return ring;
  *why = reason(error);
  return nullptr;
}

}  // namespace zo2::disk
