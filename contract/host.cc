#include "contract/host.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace zo2::contract {
namespace {

constexpr uint64_t kNone = ~uint64_t{0};

// The text after "name" and its colon in the first line of `path` that starts with `name`; empty when there is none.
std::string field(const std::string& path, const std::string& name) {
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

uint64_t kibibytes(const std::string& text) {
  return text.empty() ? 0 : std::strtoull(text.c_str(), nullptr, 10) * 1024;
}

// The number that a file begins with; kNone for "max", -1 and what is no number.
uint64_t number(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word) || word.find_first_not_of("0123456789") != std::string::npos) return kNone;
  return std::strtoull(word.c_str(), nullptr, 10);
}

// The number after `name` and a space in a file of such lines.
uint64_t entry(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string key;
  for (uint64_t value = 0; file >> key >> value;)
    if (key == name) return value;
  return kNone;
}

// Whether `name` is one of the words of `list`, which commas separate.
bool holds(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

// A hierarchy of control groups as far as it can be seen: where it is mounted, and the group of this process below.
struct Hierarchy {
  std::string mount;
  std::string group;  // "", or a path that begins with a slash
  bool unified;       // version 2

  // The folders from the group of this process up to the mount.
  std::vector<std::string> upwards() const {
    std::vector<std::string> folders;
    for (std::string below = group; !below.empty(); below.erase(below.rfind('/'))) folders.push_back(mount + below);
    folders.push_back(mount);
    return folders;
  }
};

// mountinfo writes a space as \040.
std::string unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    const bool code = text[i] == '\\' && i + 3 < text.size();
    out += code ? static_cast<char>(std::strtoul(text.substr(i + 1, 3).c_str(), nullptr, 8)) : text[i];
    if (code) i += 3;
  }
  return out;
}

// The path of this process's group in /proc/self/cgroup: of version 2, or of the controller in version 1.
std::string group_of(const std::string& root, bool unified, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (unified ? controllers.empty() : holds(controllers, controller)) return line.substr(second + 1);
  }
  return "/";
}

// `group` seen from a mount of the hierarchy that shows the part from `top` on. In a container the mount often begins
// at the group itself, or at one that the path does not pass: then the mount is all there is to see.
std::string below(const std::string& group, const std::string& top) {
  std::string rest = group;
  if (top != "/") {
    if (rest.compare(0, top.size(), top) != 0 || (rest.size() > top.size() && rest[top.size()] != '/')) return {};
    rest.erase(0, top.size());
  }
  while (!rest.empty() && rest.back() == '/') rest.pop_back();
  const bool outside = rest.find("/../") != std::string::npos || rest.compare(0, 3, "/..") == 0;
  return outside ? std::string() : rest;
}

// Every hierarchy that may limit `controller`: on a hybrid system there are two.
std::vector<Hierarchy> hierarchies(const std::string& root, const std::string& controller) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string skipped, top, mount, word, type, source, options;
    words >> skipped >> skipped >> skipped >> top >> mount;
    while (words >> word && word != "-") continue;
    words >> type >> source >> options;
    const bool unified = type == "cgroup2";
    if (!unified && (type != "cgroup" || !holds(options, controller))) continue;
    const std::string group = group_of(root, unified, controller);
    found.push_back({unescaped(mount), below(group, unescaped(top)), unified});
  }
  if (found.empty()) found.push_back({"/sys/fs/cgroup", below(group_of(root, true, ""), "/"), true});
  return found;
}

void limit_cores(const std::string& root, Host* host) {
  for (const Hierarchy& hierarchy : hierarchies(root, "cpu")) {
    for (const std::string& folder : hierarchy.upwards()) {
      const std::string name = folder + (hierarchy.unified ? "/cpu.max" : "/cpu.cfs_quota_us");
      const uint64_t quota = number(root + name);
      uint64_t period = 0;
      if (hierarchy.unified) {
        std::string skipped;
        std::ifstream file(root + name);
        file >> skipped >> period;
      } else {
        period = number(root + folder + "/cpu.cfs_period_us");
      }
      if (quota == kNone || period == 0 || period == kNone) continue;
      const uint64_t cores = std::max<uint64_t>(1, quota / period + (quota % period != 0 ? 1 : 0));
      if (cores >= host->cores) continue;
      host->cores = static_cast<unsigned>(cores);
      host->cores_by = name;
    }
  }
}

// Bytes in use that the kernel would not give up for an allocation: not the pages of files that were not used lately.
uint64_t held(const std::string& folder, const Hierarchy& hierarchy) {
  const uint64_t used = number(folder + (hierarchy.unified ? "/memory.current" : "/memory.usage_in_bytes"));
  const uint64_t files = entry(folder + "/memory.stat", hierarchy.unified ? "inactive_file" : "total_inactive_file");
  if (used == kNone) return 0;
  return files == kNone ? used : used - std::min(used, files);
}

void limit_memory(const std::string& root, Host* host) {
  for (const Hierarchy& hierarchy : hierarchies(root, "memory")) {
    for (const std::string& folder : hierarchy.upwards()) {
      const auto apply = [&](const std::string& name, uint64_t limit) {
        // No process lives under a limit of 0: it is a way to have pages given up.
        if (limit == 0 || limit >= host->memory_total) return;
        host->memory_total = limit;
        host->memory_by = folder + name;
      };
      const auto leave = [&](uint64_t limit) {
        if (limit == 0 || limit == kNone) return;
        const uint64_t used = held(root + folder, hierarchy);
        host->memory_free = std::min(host->memory_free, limit - std::min(limit, used));
      };
      if (hierarchy.unified) {
        for (const char* name : {"/memory.max", "/memory.high"}) {
          const uint64_t limit = number(root + folder + name);
          apply(name, limit);
          leave(limit);
        }
      } else {
        const uint64_t limit = number(root + folder + "/memory.limit_in_bytes");
        apply("/memory.limit_in_bytes", limit);
        leave(limit);
        // That of a group above the mount, which cannot be seen.
        apply("/memory.stat", entry(root + folder + "/memory.stat", "hierarchical_memory_limit"));
      }
    }
  }
  host->memory_free = std::min(host->memory_free, host->memory_total);
}

}  // namespace

Cores machine_cores() {
  Cores cores{std::max(1u, std::thread::hardware_concurrency()), 0};
  std::ifstream online("/sys/devices/system/cpu/online");
  // "0-7", "0,2-5": the library's count is that of the affinity mask already.
  unsigned count = 0;
  for (std::string range; std::getline(online, range, ',');) {
    unsigned first = 0, last = 0;
    const int found = std::sscanf(range.c_str(), "%u-%u", &first, &last);
    if (found >= 1) count += found == 2 && last >= first ? last - first + 1 : 1;
  }
  if (count > 0) cores.machine = count;
  cpu_set_t set;
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  cores.allowed = known ? static_cast<unsigned>(CPU_COUNT(&set)) : cores.machine;
  return cores;
}

Host host(const std::string& root, const Cores& cores) {
  Host host{std::max(1u, cores.allowed), cores.allowed < cores.machine ? "affinity mask" : "",
            kibibytes(field(root + "/proc/meminfo", "MemTotal")),
            kibibytes(field(root + "/proc/meminfo", "MemAvailable")), ""};
  limit_cores(root, &host);
  limit_memory(root, &host);
  return host;
}

Host host() { return host("", machine_cores()); }

std::string processor_name() {
  std::string name = field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown processor" : name;
}

}  // namespace zo2::contract
