// The OPT models of the paper's tables (arXiv 2205.01068, table 1) whose shapes the benches use.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/gpu/bench.h"

namespace zo2::bench {

struct OptShape {
  const char* name;
  int64_t hidden;
  int64_t heads;
};

inline std::vector<OptShape> opt_shapes() {
  if (tiny()) return {{"opt-tiny", 128, 2}};
  return {{"opt-1.3b", 2048, 32}, {"opt-13b", 5120, 40}, {"opt-175b", 12288, 96}};
}

inline int64_t token_count() { return tiny() ? 65 : 2048; }

}  // namespace zo2::bench
