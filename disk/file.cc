#include "disk/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdlib>
#include <limits>
#include <memory>
#include <system_error>

#include "contract/status.h"

namespace zo2::disk {
namespace {

using contract::fail;

constexpr uint64_t kMostBytes = static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - kBlock;

bool is_lack_of_room(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

constexpr int kFlags = O_RDWR | O_CLOEXEC;
constexpr mode_t kMode = 0600;

// Paths stand at the end of messages, which have a limit.
[[noreturn]] void refuse(const std::string& folder, uint64_t bytes, int error, const std::string& room) {
  if (is_lack_of_room(error)) {
    fail(ZO2_STATUS_OUT_OF_MEMORY,
         "a file of %" PRIu64 " bytes was asked for, but %s (%s); free some, or choose another folder than %s", bytes,
         room.c_str(), reason(error).c_str(), folder.c_str());
  }
  fail(ZO2_STATUS_IO, "a file of %" PRIu64 " bytes cannot be made: %s: %s", bytes, reason(error).c_str(),
       folder.c_str());
}

// What the file system of an open file has left for this user; none when it does not say.
struct Room {
  bool known;
  uint64_t bytes;
};
Room room_of(int descriptor) {
  struct statvfs fs{};
  // A tmpfs without a limit says 0 blocks of 0.
  if (fstatvfs(descriptor, &fs) != 0 || fs.f_blocks == 0) return {false, 0};
  return {true, static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize};
}

std::string words_of(const Room& room) {
  return room.known ? std::to_string(room.bytes) + " are free there" : "its file system has no room for them";
}

// The limit of this process. Asked first: the kernel sends a signal to whoever passes it, which ends the process.
uint64_t size_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kMostBytes;
  return limit.rlim_cur;
}

// 0, or the errno. Not posix_fallocate: where the file system has no such call, that writes into every block.
int give_room(int descriptor, uint64_t bytes) {
  if (bytes == 0) return 0;
  int status = 0;
  do {
    status = fallocate(descriptor, 0, 0, static_cast<off_t>(bytes));
  } while (status != 0 && errno == EINTR);
  if (status == 0) return 0;
  if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  return ftruncate(descriptor, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

// Whether the file system reads its first block past the page cache: some take the flag, and refuse the reads.
bool make_direct(int descriptor, uint64_t bytes) {
  const int flags = fcntl(descriptor, F_GETFL);
  if (bytes == 0 || flags < 0 || fcntl(descriptor, F_SETFL, flags | O_DIRECT) != 0) return false;
  const std::unique_ptr<void, void (*)(void*)> block(std::aligned_alloc(kBlock, kBlock), std::free);
  ssize_t count = -1;
  do {
    if (block != nullptr) count = pread(descriptor, block.get(), kBlock, 0);
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(std::min(bytes, kBlock))) return true;
  fcntl(descriptor, F_SETFL, flags);
  return false;
}

}  // namespace

int open_nameless(const std::string& folder) {
  const int descriptor = open(folder.c_str(), kFlags | O_TMPFILE, kMode);
  // What those say that do not know the flag: file systems, and kernels, to which it is that of a folder.
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return descriptor;
  return open_and_unlink(folder);
}

int open_and_unlink(const std::string& folder) {
  constexpr char kEnd[] = ".weights";
  std::string path = folder + "/zo2-" + std::to_string(getpid()) + "-XXXXXX" + kEnd;
  // Of another source of randomness than std::random_device, which asks for a C library that is too new for many.
  const int descriptor = mkostemps(path.data(), sizeof kEnd - 1, O_CLOEXEC);
  if (descriptor < 0 || unlink(path.c_str()) == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

File::File(const std::string& folder, uint64_t bytes)
    : place_(folder), bytes_(bytes), descriptor_(open_nameless(folder)) {
  if (descriptor_ < 0) refuse(place_, bytes, errno, "the folder has no room for it");
  try {
    make(bytes);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

void File::make(uint64_t bytes) {
  if (bytes > kMostBytes) refuse(place_, bytes, EFBIG, "no file can have so many");
  const uint64_t whole = round_up(bytes, kBlock);
  if (const uint64_t limit = size_limit(); whole > limit)
    refuse(place_, bytes, EFBIG, "this process may write " + std::to_string(limit) + " into one (ulimit -f)");
  // Asked first: some file systems fill up before they refuse, and others would run out of room meanwhile.
  if (const Room room = room_of(descriptor_); room.known && whole > room.bytes)
    refuse(place_, bytes, ENOSPC, words_of(room));
  if (const int error = give_room(descriptor_, whole); error != 0)
    refuse(place_, bytes, error, words_of(room_of(descriptor_)));
  direct_ = make_direct(descriptor_, whole);
}

File::File(const std::string& path) : place_(path) {
  const auto refused = [&](const std::string& why) {
    fail(ZO2_STATUS_IO, "a file cannot be read: %s: %s", why.c_str(), place_.c_str());
  };
  // Not to wait for whoever writes into a pipe; io_uring would have reads of a file tried again and again.
  descriptor_ = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor_ < 0) refused(reason(errno));
  struct stat about{};
  const int error = fstat(descriptor_, &about) == 0 ? 0 : errno;
  if (error != 0 || !S_ISREG(about.st_mode) || fcntl(descriptor_, F_SETFL, 0) != 0) {
    close(descriptor_);
    refused(error != 0 ? reason(error) : "it is no regular file");
  }
  bytes_ = static_cast<uint64_t>(about.st_size);
  end_ = bytes_;
  direct_ = make_direct(descriptor_, bytes_);
}

File::~File() { close(descriptor_); }

void File::link(const std::string& path) const {
  const std::string open_file = "/proc/self/fd/" + std::to_string(descriptor_);
  if (linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
  fail(ZO2_STATUS_IO, "the file cannot be given a name: %s: %s", reason(errno).c_str(), path.c_str());
}

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace zo2::disk
