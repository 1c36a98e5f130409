// Which backend the tests of the contract drive: the environment's ZO2_TEST_BACKEND, "cpu" (the default) or "cuda". A
// test that cannot have the backend it was asked for ends at once with the reason and an error exit, so that it is
// never taken for a test that passed.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "contract/zo2.h"

namespace zo2::test {

[[noreturn]] inline void refuse_backend(const char* asked, const char* reason) {
  std::fprintf(stderr, "ZO2_TEST_BACKEND=%s cannot be tested: %s\n", asked, reason);
  std::fflush(nullptr);
  std::_Exit(2);
}

inline const zo2_backend* find_backend() {
  const char* const given = std::getenv("ZO2_TEST_BACKEND");
  const char* const asked = given == nullptr || *given == '\0' ? "cpu" : given;
  if (std::strcmp(asked, "cpu") == 0) return zo2_cpu_backend();
  if (std::strcmp(asked, "cuda") != 0) refuse_backend(asked, "there are cpu and cuda");
#if defined(ZO2_WITH_CUDA)
  const zo2_backend* const backend = zo2_cuda_backend();
  zo2_error error{};
  int32_t count = 0;
  if (backend->device_count(&count, &error) != ZO2_OK || count == 0) refuse_backend(asked, error.message);
  return backend;
#else
  refuse_backend(asked, "this build has no CUDA backend (ZO2_CUDA=off)");
#endif
}

// The table under test.
inline const zo2_backend* backend() {
  static const zo2_backend* const found = find_backend();
  return found;
}

inline bool on_cuda() { return std::strcmp(backend()->kind, "cuda") == 0; }

// Whether a device says that it is of the backend under test. CUDA's may run on a GPU or be emulated.
inline bool is_tested_kind(const char* kind) {
  if (on_cuda()) return std::strcmp(kind, "cuda") == 0 || std::strcmp(kind, "cuda-emulated") == 0;
  return std::strcmp(kind, backend()->kind) == 0;
}

}  // namespace zo2::test
