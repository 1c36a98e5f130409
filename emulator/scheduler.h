// Runs launches, and keeps what failed.
#pragma once

#include "emulator/internal.h"

namespace zo2::emu {

// Runs a launch to its end on the calling thread, which holds the runtime's lock.
void run_launch(const Launch& launch);

// The operation under way (a launch, a copy) failed; the runtime asks and forgets with take_failure.
void fail_operation();
bool take_failure();

// What a block needs when it starts and ends (shared.cc).
void begin_shared(Block& block, size_t dynamic_bytes);
void end_shared(Block& block);

// Ready masks, for the files that put lanes to sleep.
void set_ready(Warp& warp, uint32_t lanes);
void clear_ready(Warp& warp, uint32_t lanes);
// The running thread has just been marked as not ready: runs another one until it is ready again.
void run_others();

}  // namespace zo2::emu
