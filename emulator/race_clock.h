// What a thread of a block knows of the others of its block: known[t] is the last clock of thread t that happened
// before now. Threads that met at a barrier share one vector, so that a barrier costs as much as its threads, not their
// square.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/internal.h"

namespace zo2::emu::race {

struct Known {
  int users = 0;
  std::vector<uint32_t> clocks;
};

inline const Known& known_of(const Thread& thread) { return *static_cast<const Known*>(thread.race.known); }

}  // namespace zo2::emu::race
