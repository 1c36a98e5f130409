// What control groups and the affinity mask leave of a host, on made-up file systems.
#include "contract/host.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "check.h"

using zo2::contract::Cores;
using zo2::contract::Host;
using zo2::contract::host;

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kMachine = 64 * 1024 * kMiB;
constexpr uint64_t kFree = 32 * 1024 * kMiB;

using Files = std::map<std::string, std::string>;

struct Case {
  const char* what;
  Files files;
  Cores cores;
  unsigned expected_cores;
  std::string cores_by;
  uint64_t memory_total;
  uint64_t memory_free;
  std::string memory_by;
};

const std::string kV2Mount = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string kOther = "22 1 0:20 / /proc rw - proc proc rw\n23 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n";

std::string v1_mount(const std::string& controllers, const std::string& top = "/") {
  return "31 1 0:27 " + top + " /sys/fs/cgroup/" + controllers + " rw shared:5 - cgroup cgroup rw," + controllers +
         "\n";
}

// A file system with the machine's memory and `files`; the folder of the test, made anew.
std::string made(const Files& files) {
  static int count = 0;
  const char* temporary = getenv("TMPDIR");
  const std::string root = std::string(temporary == nullptr ? "/tmp" : temporary) + "/zo2-host-" +
                           std::to_string(getpid()) + "-" + std::to_string(count++);
  Files all = {{"/proc/meminfo", "MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:   33554432 kB\n"}};
  for (const auto& [path, text] : files) all[path] = text;
  for (const auto& [path, text] : all) {
    const std::filesystem::path whole = root + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  return root;
}

Files v2(const std::string& group, Files files) {
  files["/proc/self/mountinfo"] = kOther + kV2Mount;
  files["/proc/self/cgroup"] = "0::" + group + "\n";
  return files;
}

Files with(Files files, const std::string& mountinfo, const std::string& cgroup) {
  files["/proc/self/mountinfo"] = kOther + mountinfo;
  files["/proc/self/cgroup"] = cgroup;
  return files;
}

const Cores kEight{8, 8};

void every_tree_is_read() {
  const std::string group = "/sys/fs/cgroup";
  const std::string deep = group + "/a.slice/b.scope";
  const Case cases[] = {
      {"no control groups", {}, kEight, 8, "", kMachine, kFree, ""},
      {"no control groups, an affinity mask", {}, {8, 3}, 3, "affinity mask", kMachine, kFree, ""},
      {"v2, no limit",
       v2("/",
          {{group + "/cpu.max", "max 100000\n"}, {group + "/memory.max", "max\n"}, {group + "/memory.high", "max"}}),
       kEight, 8, "", kMachine, kFree, ""},
      {"v2, a container's own group",
       v2("/", {{group + "/cpu.max", "200000 100000\n"},
                {group + "/memory.max", std::to_string(512 * kMiB)},
                {group + "/memory.current", std::to_string(112 * kMiB)}}),
       kEight, 2, group + "/cpu.max", 512 * kMiB, 400 * kMiB, group + "/memory.max"},
      {"v2, pages of files are free",
       v2("/", {{group + "/memory.max", std::to_string(512 * kMiB)},
                {group + "/memory.current", std::to_string(500 * kMiB)},
                {group + "/memory.stat", "anon 104857600\ninactive_file 314572800\nactive_file 0\n"}}),
       kEight, 8, "", 512 * kMiB, 312 * kMiB, group + "/memory.max"},
      {"v2, memory.high below memory.max",
       v2("/", {{group + "/memory.max", std::to_string(512 * kMiB)},
                {group + "/memory.high", std::to_string(256 * kMiB)},
                {group + "/memory.current", "0"}}),
       kEight, 8, "", 256 * kMiB, 256 * kMiB, group + "/memory.high"},
      {"v2, a quota that is no whole number is rounded up", v2("/", {{group + "/cpu.max", "150000 100000\n"}}), kEight,
       2, group + "/cpu.max", kMachine, kFree, ""},
      {"v2, a tenth of a core is one", v2("/", {{group + "/cpu.max", "10000 100000\n"}}), kEight, 1, group + "/cpu.max",
       kMachine, kFree, ""},
      {"v2, a quota of more than the cores", v2("/", {{group + "/cpu.max", "6400000 100000\n"}}), kEight, 8, "",
       kMachine, kFree, ""},
      {"v2, a quota above an affinity mask",
       v2("/", {{group + "/cpu.max", "400000 100000\n"}}),
       {8, 2},
       2,
       "affinity mask",
       kMachine,
       kFree,
       ""},
      {"v2, a quota below an affinity mask",
       v2("/", {{group + "/cpu.max", "100000 100000\n"}}),
       {8, 2},
       1,
       group + "/cpu.max",
       kMachine,
       kFree,
       ""},
      {"v2, nested: the group above is the smaller one",
       v2("/a.slice/b.scope", {{deep + "/cpu.max", "400000 100000"},
                               {group + "/a.slice/cpu.max", "300000 100000"},
                               {deep + "/memory.max", std::to_string(900 * kMiB)},
                               {deep + "/memory.current", std::to_string(100 * kMiB)},
                               {group + "/a.slice/memory.max", std::to_string(700 * kMiB)},
                               {group + "/a.slice/memory.current", std::to_string(600 * kMiB)}}),
       kEight, 3, group + "/a.slice/cpu.max", 700 * kMiB, 100 * kMiB, group + "/a.slice/memory.max"},
      {"v2, nested: the group itself is",
       v2("/a.slice/b.scope", {{deep + "/cpu.max", "100000 50000"},
                               {group + "/a.slice/cpu.max", "max 100000"},
                               {deep + "/memory.max", std::to_string(100 * kMiB)},
                               {group + "/a.slice/memory.max", std::to_string(700 * kMiB)}}),
       kEight, 2, deep + "/cpu.max", 100 * kMiB, 100 * kMiB, deep + "/memory.max"},
      {"v2, the group's folder cannot be seen", v2("/gone/below", {{group + "/memory.max", std::to_string(80 * kMiB)}}),
       kEight, 8, "", 80 * kMiB, 80 * kMiB, group + "/memory.max"},
      {"v2, the group lies outside of the namespace",
       v2("/../other", {{group + "/memory.max", std::to_string(80 * kMiB)}}), kEight, 8, "", 80 * kMiB, 80 * kMiB,
       group + "/memory.max"},
      {"v2, a mount that shows a part, and begins at the group",
       with({{group + "/memory.max", std::to_string(64 * kMiB)}},
            "30 1 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abc\n"),
       kEight, 8, "", 64 * kMiB, 64 * kMiB, group + "/memory.max"},
      {"v2, a mount that shows a part, with a group below",
       with({{group + "/sub/memory.max", std::to_string(64 * kMiB)}},
            "30 1 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abc/sub\n"),
       kEight, 8, "", 64 * kMiB, 64 * kMiB, group + "/sub/memory.max"},
      {"v2, a mount of a group with a name that begins the same",
       with({{group + "/memory.max", std::to_string(64 * kMiB)}},
            "30 1 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abc\n"),
       kEight, 8, "", 64 * kMiB, 64 * kMiB, group + "/memory.max"},
      {"v2, a limit above the machine's memory", v2("/", {{group + "/memory.max", std::to_string(2 * kMachine)}}),
       kEight, 8, "", kMachine, kFree, ""},
      {"v2, a limit of 0 is none", v2("/", {{group + "/memory.high", "0"}}), kEight, 8, "", kMachine, kFree, ""},
      {"v2, files that hold something else",
       v2("/", {{group + "/cpu.max", "many few"}, {group + "/memory.max", ""}, {group + "/memory.high", "-5"}}), kEight,
       8, "", kMachine, kFree, ""},
      {"v2, a period of 0", v2("/", {{group + "/cpu.max", "100000 0"}}), kEight, 8, "", kMachine, kFree, ""},
      {"v2, a mount with a space in its name",
       with({{"/my groups/memory.max", std::to_string(64 * kMiB)}},
            "30 1 0:26 / /my\\040groups rw - cgroup2 cgroup rw\n", "0::/\n"),
       kEight, 8, "", 64 * kMiB, 64 * kMiB, "/my groups/memory.max"},
      {"neither mountinfo nor cgroup can be read: version 2 where it usually is",
       {{group + "/cpu.max", "100000 100000"}, {group + "/memory.max", std::to_string(64 * kMiB)}},
       kEight,
       1,
       group + "/cpu.max",
       64 * kMiB,
       64 * kMiB,
       group + "/memory.max"},
      {"v1, limits",
       with({{group + "/cpu,cpuacct/cpu.cfs_quota_us", "250000"},
             {group + "/cpu,cpuacct/cpu.cfs_period_us", "100000"},
             {group + "/memory/memory.limit_in_bytes", std::to_string(512 * kMiB)},
             {group + "/memory/memory.usage_in_bytes", std::to_string(112 * kMiB)}},
            v1_mount("cpu,cpuacct") + v1_mount("memory"), "4:memory:/\n2:cpu,cpuacct:/\n"),
       kEight, 3, group + "/cpu,cpuacct/cpu.cfs_quota_us", 512 * kMiB, 400 * kMiB,
       group + "/memory/memory.limit_in_bytes"},
      {"v1, no limits",
       with({{group + "/cpu/cpu.cfs_quota_us", "-1"},
             {group + "/cpu/cpu.cfs_period_us", "100000"},
             {group + "/memory/memory.limit_in_bytes", "9223372036854771712"}},
            v1_mount("cpu") + v1_mount("memory"), "4:memory:/\n2:cpu:/\n"),
       kEight, 8, "", kMachine, kFree, ""},
      {"v1, nested",
       with({{group + "/cpu/x/cpu.cfs_quota_us", "100000"},
             {group + "/cpu/x/cpu.cfs_period_us", "100000"},
             {group + "/cpu/x/y/cpu.cfs_quota_us", "400000"},
             {group + "/cpu/x/y/cpu.cfs_period_us", "100000"},
             {group + "/memory/z/memory.limit_in_bytes", std::to_string(300 * kMiB)},
             {group + "/memory/z/w/memory.limit_in_bytes", std::to_string(200 * kMiB)}},
            v1_mount("cpu") + v1_mount("memory"), "4:memory:/z/w\n2:cpu:/x/y\n"),
       kEight, 1, group + "/cpu/x/cpu.cfs_quota_us", 200 * kMiB, 200 * kMiB,
       group + "/memory/z/w/memory.limit_in_bytes"},
      {"v1, a container that sees its own group only, under a group with less",
       with({{group + "/memory/memory.limit_in_bytes", std::to_string(512 * kMiB)},
             {group + "/memory/memory.stat",
              "cache 0\nhierarchical_memory_limit " + std::to_string(256 * kMiB) + "\ntotal_inactive_file 0\n"}},
            v1_mount("memory", "/docker/abc"), "4:memory:/docker/abc\n"),
       kEight, 8, "", 256 * kMiB, 256 * kMiB, group + "/memory/memory.stat"},
      {"v1, pages of files are free",
       with({{group + "/memory/memory.limit_in_bytes", std::to_string(512 * kMiB)},
             {group + "/memory/memory.usage_in_bytes", std::to_string(500 * kMiB)},
             {group + "/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 209715200\n"}},
            v1_mount("memory"), "4:memory:/\n"),
       kEight, 8, "", 512 * kMiB, 212 * kMiB, group + "/memory/memory.limit_in_bytes"},
      {"hybrid: version 1 has the controllers, version 2 none",
       with({{group + "/memory/memory.limit_in_bytes", std::to_string(128 * kMiB)}},
            v1_mount("memory") + "33 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "4:memory:/\n0::/\n"),
       kEight, 8, "", 128 * kMiB, 128 * kMiB, group + "/memory/memory.limit_in_bytes"},
      {"hybrid: memory in version 1, processors in version 2",
       with({{group + "/memory/memory.limit_in_bytes", std::to_string(128 * kMiB)},
             {group + "/unified/u/cpu.max", "300000 100000"}},
            v1_mount("memory") + "33 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "4:memory:/\n0::/u\n"),
       kEight, 3, group + "/unified/u/cpu.max", 128 * kMiB, 128 * kMiB, group + "/memory/memory.limit_in_bytes"},
      {"a use above the limit leaves nothing",
       v2("/",
          {{group + "/memory.max", std::to_string(64 * kMiB)}, {group + "/memory.current", std::to_string(65 * kMiB)}}),
       kEight, 8, "", 64 * kMiB, 0, group + "/memory.max"},
  };
  for (const Case& c : cases) {
    const std::string root = made(c.files);
    const Host found = host(root, c.cores);
    std::filesystem::remove_all(root);
    CHECK(found.cores == c.expected_cores, "%s: %u", c.what, found.cores);
    CHECK(found.cores_by == c.cores_by, "%s: %s", c.what, found.cores_by.c_str());
    CHECK(found.memory_total == c.memory_total, "%s: %llu", c.what, (unsigned long long)found.memory_total);
    CHECK(found.memory_free == c.memory_free, "%s: %llu", c.what, (unsigned long long)found.memory_free);
    CHECK(found.memory_by == c.memory_by, "%s: %s", c.what, found.memory_by.c_str());
  }
}

void this_host_has_something() {
  const Host here = host();
  CHECK(here.cores >= 1 && here.cores <= zo2::contract::machine_cores().machine);
  CHECK(here.memory_total > 0 && here.memory_free <= here.memory_total);
}

}  // namespace

int main() {
  every_tree_is_read();
  this_host_has_something();
  return zo2::test::report();
}
