// For the emulator's own tests: mistakes made on purpose, and the reports they must give.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <string>

#include "check.h"
#include "cuda/kernel_list.h"

extern "C" const char* zo2_emu_last_report(void);
extern "C" uint64_t zo2_emu_reports(void);

namespace zo2::test {

#ifdef ZO2_EMU_RACE
constexpr bool kRaceBuild = ZO2_EMU_RACE != 0;
#else
constexpr bool kRaceBuild = false;
#endif

// "file.cu:12", where line 12 of this source is the one that ends in "// [mark]". Compares as emulator reports print
// it.
inline std::string place(const char* source, const std::string& mark) {
  std::ifstream file(source);
  std::string line;
  for (int number = 1; std::getline(file, line); number++) {
    if (line.find("// [" + mark + "]") != std::string::npos) {
      const std::string path(source);
      return path.substr(path.rfind('/') + 1) + ":" + std::to_string(number);
    }
  }
  return "no line of " + std::string(source) + " is marked [" + mark + "]";
}

// Runs `body` to its end. `kind`: that a report must be of, with every mark's place in its text; empty: there must be
// none.
inline void expect(const char* source, const char* name, const std::string& kind,
                   std::initializer_list<const char*> marks, const std::function<void()>& body) {
  const uint64_t before = zo2_emu_reports();
  body();
  cudaDeviceSynchronize();
  const uint64_t reports = zo2_emu_reports() - before;
  const std::string text = zo2_emu_last_report();
  if (kind.empty()) {
    CHECK(reports == 0, "%s: %s", name, text.c_str());
  } else if (CHECK(reports > 0, "%s: no report", name)) {
    CHECK(text.find("[" + kind + "]") != std::string::npos, "%s: not of kind %s: %s", name, kind.c_str(), text.c_str());
    for (const char* const mark : marks) {
      CHECK(text.find(place(source, mark)) != std::string::npos, "%s: does not name %s: %s", name,
            place(source, mark).c_str(), text.c_str());
    }
  }
  CHECK(cudaDeviceReset() == cudaSuccess, "%s", name);
  cuda::load_kernels();
  static_cast<void>(cudaGetLastError());
}

}  // namespace zo2::test
