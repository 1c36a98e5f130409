// A check that counts. A test file is one program: checks, then `return zo2::test::report();`, which prints "N passed, N failed" and
// gives the exit code. The first failures are printed with their place; the rest are only counted.
#ifndef ZO2_TEST_CHECK_H
#define ZO2_TEST_CHECK_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

namespace zo2 {
namespace test {

struct Counts {
  uint64_t passed = 0;
  uint64_t failed = 0;
};

inline Counts& counts() {
  static Counts all;
  return all;
}

__attribute__((format(printf, 5, 6))) inline bool record(bool ok, const char* file, int line, const char* expression,
                                                         const char* format, ...) {
  if (ok) {
    ++counts().passed;
    return true;
  }
  if (++counts().failed <= 50) {
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
  printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(counts().passed),
         static_cast<unsigned long long>(counts().failed));
  return counts().failed == 0 ? 0 : 1;
}

}  // namespace test
}  // namespace zo2

// CHECK(condition) or CHECK(condition, "format", values...): true when the condition holds.
#define CHECK(condition, ...) ZO2_CHECK_PICK(condition, ##__VA_ARGS__)
#define ZO2_CHECK_PICK(condition, ...) \
  ::zo2::test::record(static_cast<bool>(condition), __FILE__, __LINE__, #condition, " " __VA_ARGS__)

#endif  // ZO2_TEST_CHECK_H
