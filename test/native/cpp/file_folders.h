// Where tests of files make them: folders of file systems that can do different things, gone when the process ends.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace zo2::test {

class Folder {
 public:
  // In the folder for temporary files; with `type`, a file system of that type is mounted there, for this process
  // alone.
  explicit Folder(const char* type = nullptr, const char* options = "") {
    std::string name = std::filesystem::temp_directory_path() / "zo2-file-test-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) return;
    path_ = name;
    if (type == nullptr) return;
    mounted_ = mounts_are_private() && mount("none", path_.c_str(), type, 0, options) == 0;
    if (mounted_) return;
    std::fprintf(stderr, "no %s can be mounted here: what needs one is skipped\n", type);
    rmdir(path_.c_str());
    path_.clear();
  }
  ~Folder() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
    if (usable()) rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  bool usable() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  // Of a file in it.
  std::string of(const char* name) const { return path_ + "/" + name; }
  bool empty() const {
    DIR* const folder = opendir(path_.c_str());
    int entries = 0;
    while (readdir(folder) != nullptr) ++entries;
    closedir(folder);
    return entries == 2;
  }

 private:
  // Called before the process has threads.
  static bool mounts_are_private() {
    static const bool made =
        unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    return made;
  }

  std::string path_;
  bool mounted_ = false;
};

// A descriptor of its own of the open file of this process that takes its room in `within`, and has no name; -1: there
// is none.
inline int open_nameless(const Folder& within) {
  DIR* const folder = opendir("/proc/self/fd");
  int found = -1;
  while (const dirent* const entry = readdir(folder)) {
    const std::string link = std::string("/proc/self/fd/") + entry->d_name;
    char target[4096];
    const ssize_t length = readlink(link.c_str(), target, sizeof target);
    const std::string name(target, length > 0 ? static_cast<size_t>(length) : 0);
    if (name.rfind(within.of(""), 0) == 0 && name.find(" (deleted)") != std::string::npos && found < 0)
      found = open(link.c_str(), O_RDWR | O_CLOEXEC);
  }
  closedir(folder);
  return found;
}

// The first bytes of that file as the file system has them.
inline std::vector<uint8_t> contents_of(const Folder& folder, uint64_t bytes) {
  std::vector<uint8_t> all(bytes);
  const int descriptor = open_nameless(folder);
  uint64_t done = 0;
  for (ssize_t count = 1; count > 0 && done < bytes; done += static_cast<uint64_t>(count > 0 ? count : 0))
    count = pread(descriptor, all.data() + done, bytes - done, static_cast<off_t>(done));
  if (done < bytes) all.clear();
  if (descriptor >= 0) close(descriptor);
  return all;
}

}  // namespace zo2::test
