// Places in kernel files as 32-bit numbers, small enough to stand in every cell of the shadow; resolved to file and
// line only in reports.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/where.h"

namespace zo2::emu::race {

using Place = uint32_t;

// Of an instruction of this module, from the return address of a call: its offset from the module's first byte.
Place place_of(const void* return_address);
// Of an instruction of the emulator that knows its caller.
Place place_of(Where where);

// File and line, the innermost one; with the addresses themselves where there are no debug symbols. Runs addr2line the
// first time.
Where resolve(Place place);
// "cuda/ops/reduce.cuh:12 (in cuda/ops/rms_norm.cu:40)".
std::string describe_place(Place place);

// Whether `address` lies in this module's code or data.
bool in_image(uintptr_t address);

}  // namespace zo2::emu::race
