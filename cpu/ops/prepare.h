// prepare as a command: its elements cut into chunks for the pool.
#pragma once

#include "contract/commands.h"
#include "cpu/runtime/pool.h"

namespace zo2::cpu {

// Runs the whole command; returns when the last chunk has ended. The coefficients of the updates are read here.
// `generic` forces the portable kernels (same bits). Throws Failure(INVALID_ARGUMENT) for a row number of a gathered
// segment that is negative or past the end of buffer noise; nothing is written then.
void run_prepare(const contract::PrepareCommand& command, ThreadPool& pool, bool generic);

}  // namespace zo2::cpu
