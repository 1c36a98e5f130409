// What kind of build this is: over the CUDA runtime, or over the emulator (whose CMakeLists.txt says so).
#pragma once

#include <cstdint>

#if ZO2_EMULATED
// The last report of a kernel or a check that failed, or an empty text; valid until the next one.
extern "C" const char* zo2_emu_last_report(void);
// Inside a host function: what was done for it in host memory, which the race detector cannot see. Nothing without it.
extern "C" void zo2_emu_host_function_touches(const void* memory, uint64_t bytes, bool write);
#endif

namespace zo2::cuda {

#if ZO2_EMULATED
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

}  // namespace zo2::cuda
