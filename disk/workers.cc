#include "disk/workers.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "contract/status.h"
#include "disk/bounce.h"

namespace zo2::disk {
namespace {

// Whether a piece was moved by this thread, which keeps `blocks` between pieces.
bool move_one(const Transfer& transfer, const Piece& piece, Bounce* blocks, Fault* fault) {
  if (!transfer.through) return move_piece(transfer.file, transfer.direction, piece, fault);
  if (*blocks == nullptr) blocks->reset(static_cast<uint8_t*>(std::aligned_alloc(kBlock, kPieceBytes)));
  if (*blocks == nullptr) {
    *fault = {piece, ENOMEM};
    return false;
  }
  if (!move_piece(transfer.file, transfer.direction, cover_of(piece, blocks->get()), fault)) {
    fault->piece = piece;
    return false;
  }
  deliver(piece, blocks->get());
  return true;
}

}  // namespace

// One transfer. Threads that come late to it find no piece left, and touch nothing else of it.
struct Workers::Job {
  const Transfer* transfer;
  size_t pieces;
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0;
  size_t done = 0;
  std::optional<Fault> fault;  // the first; no further piece is begun then

  // The number of a piece that nobody has; none when there is none left.
  std::optional<size_t> take() {
    std::lock_guard<std::mutex> lock(mutex);
    return next < pieces ? std::optional<size_t>(next++) : std::nullopt;
  }

  void finish(const std::optional<Fault>& how) {
    std::lock_guard<std::mutex> lock(mutex);
    ++done;
    if (how && !fault) {
      fault = how;
      done += pieces - next;
      next = pieces;
    }
    if (done == pieces) changed.notify_all();
  }
};

Workers::~Workers() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::start() {
  if (!threads_.empty()) return;
  try {
    while (threads_.size() + 1 < kInFlight) threads_.push_back(start_("zo2 files", [this] { serve(); }));
  } catch (const contract::Failure&) {
    // With fewer it takes longer.
  }
}

void Workers::run(const Transfer& transfer) {
  const auto job = std::make_shared<Job>();
  job->transfer = &transfer;
  job->pieces = transfer.pieces.size();
  if (job->pieces > 1) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      start();
      jobs_.push_back(job);
    }
    changed_.notify_all();
  }
  work(*job);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
  }
  std::unique_lock<std::mutex> lock(job->mutex);
  job->changed.wait(lock, [&] { return job->done == job->pieces; });
  if (job->fault) fail_transfer(transfer, *job->fault);
}

void Workers::serve() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = jobs_.front();
    }
    work(*job);
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
  }
}

void Workers::work(Job& job) {
  Bounce blocks;
  while (const std::optional<size_t> number = job.take()) {
    Fault fault{};
    const bool well = move_one(*job.transfer, job.transfer->pieces[*number], &blocks, &fault);
    job.finish(well ? std::nullopt : std::optional<Fault>(fault));
  }
}

}  // namespace zo2::disk
