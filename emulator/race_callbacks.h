// What instrumented code does, on its way from the compiler's callbacks to the detector (race.cc).
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/race_order.h"

namespace zo2::emu::race {

// The running CUDA thread touches its shared memory, or memory that the device knows.
void kernel_access(uintptr_t address, size_t bytes, bool write, const void* return_address);
// The running CUDA thread touches memory that it has no business with.
void kernel_touches_host(uintptr_t address, size_t bytes, bool write, const void* return_address);
// Host code touches memory that the device knows. Under the runtime's lock.
void host_access(uintptr_t address, size_t bytes, bool write, const void* return_address);
// From now on what this host thread does belongs to the host function of this command; 0: to the host.
void set_function_op(Op op);

}  // namespace zo2::emu::race
