// gather from a file.
#pragma once

#include "contract/commands.h"
#include "disk/engine.h"

namespace zo2::disk {

// Row i of the destination becomes row (rows[i] - row_base) of the file. Throws Failure(INVALID_ARGUMENT) at the first
// row number that the file does not hold, before anything is read, and Failure(IO).
void gather_rows(Engine& engine, const File& file, const contract::FileGatherCommand& command);

}  // namespace zo2::disk
