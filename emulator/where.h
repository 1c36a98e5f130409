// A place in a kernel file. As a default argument it names the line of the caller, so that reports point into kernels,
// not into wrappers.
#pragma once

namespace zo2::emu {

struct Where {
  const char* file;
  int line;

  constexpr Where(const char* at_file = __builtin_FILE(), int at_line = __builtin_LINE())
      : file(at_file), line(at_line) {}
};

inline bool operator==(const Where& a, const Where& b) { return a.line == b.line && a.file == b.file; }

}  // namespace zo2::emu
