// The file behind a FILE buffer.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

namespace zo2::disk {

// What places in memory and in a file, and counts of bytes, are multiples of in direct I/O.
constexpr uint64_t kBlock = 4096;

inline uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// A file without a name, which only this object can reach, with room for all of its bytes, which are 0; `link` gives it
// one. Or one that is there, to be read alone.
//
// It has one descriptor, which either reads and writes past the page cache (direct I/O) or through it, for all of its
// life. Two would have to be kept coherent: a page that the one left in the cache hides what the other writes, and a
// dirty one is written over it later. So what is no whole block is read and written as a whole one here too (move.h).
class File {
 public:
  // Throws Failure: OUT_OF_MEMORY with what was asked for and what is free, IO with the folder and the system's reason.
  File(const std::string& folder, uint64_t bytes);
  // One that is there. Throws Failure(IO) with the path and the system's reason.
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // The folder of one that was made, the path of one that was there.
  const std::string& place() const { return place_; }
  int descriptor() const { return descriptor_; }
  // As they were asked for, or found.
  uint64_t bytes() const { return bytes_; }
  // Whether it takes whole blocks alone, from and to memory that begins at a multiple of kBlock.
  bool direct() const { return direct_; }
  // Where a read may end that asks for more. The last block of a file that was made is whole, and one that ends before
  // was cut.
  uint64_t end() const { return end_; }
  // Held while a block is read, changed in part and written: who else writes into the same block waits. Transfers of
  // whole blocks share none with them, because no two commands that run at once write the same bytes.
  std::mutex& changing() const { return changing_; }
  // Gives it a name that nothing has, as which it outlives this object. Throws Failure(IO).
  void link(const std::string& path) const;

 private:
  void make(uint64_t bytes);

  const std::string place_;
  uint64_t bytes_ = 0;
  uint64_t end_ = UINT64_MAX;
  int descriptor_ = -1;
  bool direct_ = false;
  mutable std::mutex changing_;
};

// An open file without a name, which can be given one where the file system has a way to make such files; else it is
// made with a name, and that is taken away at once. -1 with errno where neither can be.
int open_nameless(const std::string& folder);
int open_and_unlink(const std::string& folder);

// The system's words for an errno.
std::string reason(int error);

}  // namespace zo2::disk
