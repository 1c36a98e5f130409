// What the emulated driver does behind calls that seem to be about something else: it loads a kernel when it is first
// asked about, and some calls wait for the work of streams that they have nothing to do with. Both hang a program whose
// streams wait for the thread that calls, so both are refused here, with a report.
#pragma once

namespace zo2::emu {

void load_kernel(const void* kernel);
bool kernel_loaded(const void* kernel);
// As cudaDeviceReset does.
void unload_kernels();

// Whether `function` may go on: it waits a while for the host functions that run or come next on any stream, as the
// driver may, and is refused, with a report, when one of them does not end.
bool outlasts_held_streams(const char* function);

}  // namespace zo2::emu
