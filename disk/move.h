// Any bytes of a file, from and to any place in memory.
#pragma once

#include "contract/commands.h"
#include "disk/engine.h"

namespace zo2::disk {

// Returns when the bytes are where they belong. Throws Failure(IO) that names the file, the place and the reason.
//
// Of a direct file, whole blocks that lie at a multiple of kBlock in memory too are moved as they are. What else is
// read comes through memory of the engine's (Transfer::through). What else is written passes through a block-aligned
// buffer: whole blocks many at a time, parts of a block one by one, whose block is read first.
void move_bytes(Engine& engine, const File& file, const contract::FileCopyCommand& command);

}  // namespace zo2::disk
