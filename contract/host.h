// What the host gives this process: the machine's cores and memory, less what its affinity mask and its control groups
// (versions 1 and 2, nested) take away.
#pragma once

#include <cstdint>
#include <string>

namespace zo2::contract {

struct Host {
  unsigned cores;         // at least 1; a quota is rounded up
  std::string cores_by;   // what sets them: "affinity mask", or a control group's file; empty: the machine
  uint64_t memory_total;  // bytes
  uint64_t memory_free;   // bytes that can be had without swapping
  std::string memory_by;  // a control group's file; empty: the machine
};

// The cores of the machine, and those of them in this process's affinity mask, which a cpuset narrows as well.
struct Cores {
  unsigned machine;
  unsigned allowed;
};
Cores machine_cores();

// `root` stands for the root of the file system, without a slash at its end: tests make one up. What cannot be read
// limits nothing.
Host host(const std::string& root, const Cores& cores);

// The host under this process, read anew.
Host host();

// The processor's model name, e.g. as in /proc/cpuinfo.
std::string processor_name();

}  // namespace zo2::contract
