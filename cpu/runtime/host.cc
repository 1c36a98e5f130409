#include "cpu/runtime/host.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace zo2::cpu {
namespace {

constexpr uint64_t kNone = ~uint64_t{0};

// The text after "name" and its colon in the first line of `path` that starts with `name`; empty when there is none.
std::string field(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? std::string() : line.substr(start);
  }
  return {};
}

// A file that holds one number (cgroups write "max" for no limit).
uint64_t number(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : kNone;
}

uint64_t kibibytes(const std::string& text) {
  return text.empty() ? 0 : std::strtoull(text.c_str(), nullptr, 10) * 1024;
}

}  // namespace

unsigned usable_cores() {
  unsigned cores = std::thread::hardware_concurrency();
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = static_cast<unsigned>(CPU_COUNT(&set));
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period && quota > 0 && period > 0) {
    const double limit = (quota + period - 1) / period;
    if (limit < cores) cores = static_cast<unsigned>(limit);
  }
  return std::max(1u, cores);
}

HostMemory host_memory() {
  HostMemory memory{kibibytes(field("/proc/meminfo", "MemTotal")), kibibytes(field("/proc/meminfo", "MemAvailable"))};
  const uint64_t limit = number("/sys/fs/cgroup/memory.max");
  const uint64_t used = number("/sys/fs/cgroup/memory.current");
  if (limit < memory.total) {
    memory.total = limit;
    if (used != kNone) memory.free = std::min(memory.free, limit > used ? limit - used : 0);
  }
  return memory;
}

std::string processor_name() {
  std::string name = field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown processor" : name;
}

}  // namespace zo2::cpu
