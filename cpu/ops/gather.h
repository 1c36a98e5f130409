// gather as a command: rows of one buffer, by number, into another.
#pragma once

#include "contract/commands.h"

namespace zo2::cpu {

// Copies the rows one by one. Throws Failure(INVALID_ARGUMENT) at the first row number that the source does not hold,
// or whose bytes overlap the destination; the rows before it have been copied.
void run_gather(const contract::GatherCommand& command);

}  // namespace zo2::cpu
