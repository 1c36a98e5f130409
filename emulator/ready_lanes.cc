#include "emulator/ready_lanes.h"

#include "emulator/config.h"

namespace zo2::emu {
namespace {

int lowest(uint32_t lanes) { return __builtin_ctz(lanes); }
int highest(uint32_t lanes) { return 31 - __builtin_clz(lanes); }

}  // namespace

void ReadyLanes::begin(const std::vector<std::unique_ptr<Warp>>& warps, int count) {
  warps_.clear();
  for (int number = 0; number < count; ++number) warps_.push_back(warps[number].get());
  ready_.assign((count + 63) / 64, 0);
  favourite_ = config().order == Order::kReverse ? count - 1 : 0;
}

void ReadyLanes::set(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  if (warp.ready != 0) ready_[warp.number >> 6] |= uint64_t{1} << (warp.number & 63);
}

void ReadyLanes::clear(Warp& warp, uint32_t lanes) {
  warp.ready &= ~lanes;
  if (warp.ready == 0) ready_[warp.number >> 6] &= ~(uint64_t{1} << (warp.number & 63));
}

Thread* ReadyLanes::pick() {
  switch (config().order) {
    case Order::kForward:
      return pick_forward();
    case Order::kReverse:
      return pick_reverse();
    case Order::kRandom:
      return pick_random();
  }
  return nullptr;
}

// One warp runs as far as it can before another: the greatest skew between warps.
Thread* ReadyLanes::pick_forward() {
  if (warps_[favourite_]->ready == 0) {
    size_t word = 0;
    while (word < ready_.size() && ready_[word] == 0) ++word;
    if (word == ready_.size()) return nullptr;
    favourite_ = static_cast<int>(word * 64) + __builtin_ctzll(ready_[word]);
  }
  Warp& warp = *warps_[favourite_];
  return warp.threads[lowest(warp.ready)];
}

Thread* ReadyLanes::pick_reverse() {
  if (warps_[favourite_]->ready == 0) {
    size_t word = ready_.size();
    while (word > 0 && ready_[word - 1] == 0) --word;
    if (word == 0) return nullptr;
    favourite_ = static_cast<int>((word - 1) * 64) + 63 - __builtin_clzll(ready_[word - 1]);
  }
  Warp& warp = *warps_[favourite_];
  return warp.threads[highest(warp.ready)];
}

Thread* ReadyLanes::pick_random() {
  const size_t start = random_bits() % warps_.size();
  for (size_t tried = 0; tried < warps_.size(); ++tried) {
    Warp& warp = *warps_[(start + tried) % warps_.size()];
    if (warp.ready == 0) continue;
    const int shift = static_cast<int>(random_bits() & 31);
    const uint32_t rotated = shift == 0 ? warp.ready : warp.ready >> shift | warp.ready << (32 - shift);
    return warp.threads[(lowest(rotated) + shift) & 31];
  }
  return nullptr;
}

}  // namespace zo2::emu
