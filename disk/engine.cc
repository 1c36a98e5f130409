#include "disk/engine.h"

#include <utility>

namespace zo2::disk {

#ifndef ZO2_WITH_IO_URING
std::unique_ptr<Ring> make_ring(std::string* why) {
  *why = "built without liburing";
  return nullptr;
}
#endif

Engine::Engine(bool threads_only, StartThread start) : workers_(start) {
  std::string why = "io_uring is not to be used";
  std::unique_ptr<Ring> first = threads_only ? nullptr : make_ring(&why);
  rings_ = first != nullptr;
  name_ = rings_ ? "io_uring" : "threads (" + why + ")";
  if (rings_) idle_.push_back(std::move(first));
}

Engine::~Engine() = default;

Engine::Use::Use(Engine& engine) : engine_(engine) {
  std::lock_guard<std::mutex> lock(engine_.mutex_);
  ++engine_.uses_;
}

Engine::Use::~Use() {
  std::lock_guard<std::mutex> lock(engine_.mutex_);
  if (--engine_.uses_ == 0) engine_.changed_.notify_all();
}

void Engine::wait_until_unused() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return uses_ == 0; });
}

void Engine::run(Transfer transfer) {
  transfer.pieces = cut(std::move(transfer.pieces));
  if (transfer.pieces.empty()) return;
  std::unique_ptr<Ring> ring = take_ring();
  if (ring == nullptr) return workers_.run(transfer);
  try {
    ring->run(transfer);
  } catch (...) {
    give_back(std::move(ring));
    throw;
  }
  give_back(std::move(ring));
}

std::unique_ptr<Ring> Engine::take_ring() {
  if (!rings_) return nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Ring> ring = std::move(idle_.back());
      idle_.pop_back();
      return ring;
    }
  }
  // As many as transfers run at once; where the kernel gives no further one, threads do it.
  std::string why;
  return make_ring(&why);
}

void Engine::give_back(std::unique_ptr<Ring> ring) {
  if (!ring->usable()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(ring));
}

}  // namespace zo2::disk
