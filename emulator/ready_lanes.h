// Which lanes can run, and which of them runs next.
#pragma once

#include <memory>
#include <vector>

#include "emulator/internal.h"

namespace zo2::emu {

class ReadyLanes {
 public:
  // The first `count` of `warps` take part in a launch; none of their lanes is ready yet. Their numbers are their
  // places.
  void begin(const std::vector<std::unique_ptr<Warp>>& warps, int count);
  void set(Warp& warp, uint32_t lanes);
  void clear(Warp& warp, uint32_t lanes);
  // By config().order; null when none is ready.
  Thread* pick();

 private:
  Thread* pick_forward();
  Thread* pick_reverse();
  Thread* pick_random();

  std::vector<Warp*> warps_;
  std::vector<uint64_t> ready_;  // a bit for each warp that has a ready lane
  int favourite_ = 0;            // the warp that ran last
};

}  // namespace zo2::emu
