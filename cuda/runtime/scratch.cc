#include "cuda/runtime/scratch.h"

#include <algorithm>

namespace zo2::cuda {
namespace {

constexpr uint64_t kSmallestPiece = 4096;

}  // namespace

uint8_t* Growing::at_least(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (bytes == 0) return nullptr;
  if (pieces_.empty() || pieces_.back().bytes() < bytes) {
    const uint64_t twice = pieces_.empty() ? kSmallestPiece : 2 * pieces_.back().bytes();
    pieces_.push_back(DeviceArena(std::max(bytes, twice)));
  }
  return pieces_.back().data();
}

std::shared_ptr<Growing> ScratchBook::open() {
  std::lock_guard<std::mutex> lock(mutex_);
  auto scratch = std::make_shared<Growing>();
  scratch->at_least(bytes_);
  streams_.push_back(scratch);
  return scratch;
}

void ScratchBook::reserve(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  streams_.erase(std::remove_if(streams_.begin(), streams_.end(), [](const auto& gone) { return gone.expired(); }),
                 streams_.end());
  for (const auto& each : streams_) {
    if (const auto scratch = each.lock()) scratch->at_least(bytes);
  }
  bytes_ = std::max(bytes_, bytes);
}

}  // namespace zo2::cuda
