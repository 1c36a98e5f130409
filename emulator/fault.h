// Turns what the processor refuses while a kernel runs into reports.
#pragma once

namespace zo2::emu {

// Called by each thread before it runs a launch. From then on an access to memory that does not exist, made by a
// kernel, is reported with its line and fails the launch; other faults go to whoever handled them before. Does nothing
// under AddressSanitizer, which has reports of its own.
void catch_faults();

}  // namespace zo2::emu
