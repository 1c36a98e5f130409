// What hopper.cc asks of hopper_wgmma.cc when blocks and launches end.
#pragma once

#include "emulator/internal.h"

namespace zo2::emu {

// Reports products of `block` that were never waited for, and warps of a warpgroup that did not take part alike.
void wgmma_block_ends(Block& block);
void wgmma_forget();

}  // namespace zo2::emu
