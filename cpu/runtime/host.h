// What the machine under this process has: cores, memory, the processor's name.
#pragma once

#include <cstdint>
#include <string>

namespace zo2::cpu {

// Cores this process may use: its affinity mask, further limited by a cgroup's CPU quota (rounded up). At least 1.
unsigned usable_cores();

struct HostMemory {
  uint64_t total;  // bytes; of the machine, or of the cgroup when that is less
  uint64_t free;   // bytes that can be had without swapping
};
HostMemory host_memory();

// The processor's model name, e.g. as in /proc/cpuinfo.
std::string processor_name();

}  // namespace zo2::cpu
