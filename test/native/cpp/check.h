// A check that counts. A test file is one program: checks, then `return zo2::test::report();`, which prints "N passed,
// N failed" and gives the exit code. A CHECK in a loop counts once: passed when it held every time it was reached. The
// first failures are printed with their place.
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <vector>

namespace zo2::test {

// One CHECK in the source.
struct Site {
  Site() { all().push_back(this); }
  uint64_t failures = 0;

  static std::vector<Site*>& all() {
    static std::vector<Site*> sites;
    return sites;
  }
};

__attribute__((format(printf, 6, 7))) inline bool record(Site& site, bool ok, const char* file, int line,
                                                         const char* expression, const char* format, ...) {
  if (ok) return true;
  static int printed = 0;
  ++site.failures;
  if (++printed <= 50) {
    fprintf(stderr, "%s:%d: failed: %s:", file, line, expression);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
  }
  return false;
}

inline int report() {
  uint64_t failed = 0;
  for (const Site* site : Site::all()) failed += site->failures > 0 ? 1 : 0;
  printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(Site::all().size() - failed),
         static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace zo2::test

// CHECK(condition) or CHECK(condition, "format", values...): true when the condition holds.
#define CHECK(condition, ...) ZO2_CHECK_PICK(condition, ##__VA_ARGS__)
#define ZO2_CHECK_PICK(condition, ...) \
  ::zo2::test::record(                 \
      []() -> ::zo2::test::Site& {     \
        static ::zo2::test::Site site; \
        return site;                   \
      }(),                             \
      static_cast<bool>(condition), __FILE__, __LINE__, #condition, " " __VA_ARGS__)
