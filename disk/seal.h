// Says in a file what lies in it.
#pragma once

#include "contract/commands.h"
#include "disk/engine.h"

namespace zo2::disk {

// Returns when the seal (zo2.h) is where it belongs. Throws Failure(IO).
void write_seal(Engine& engine, const File& file, const contract::SealCommand& command);

}  // namespace zo2::disk
