// Random values in the dtypes of the contract, for bench.h's Memory::fill.
#pragma once

#include <vector>

#include "bench/gpu/bench.h"
#include "contract/zo2.h"
#include "numerics/rounding.h"

namespace zo2::bench {

inline uint64_t bytes_of(zo2_dtype dtype) { return dtype == ZO2_F32 ? 4 : 2; }

inline const char* name_of(zo2_dtype dtype) { return dtype == ZO2_F32 ? "fp32" : dtype == ZO2_F16 ? "fp16" : "bf16"; }

// A MiB of values or so; a memory is filled with it many times over.
constexpr size_t kPatternValues = 1 << 18;

inline void fill_random(Memory& memory, zo2_dtype dtype, float spread) {
  const std::vector<float> values = random_values(kPatternValues, spread);
  if (dtype == ZO2_F32) return memory.fill(values);
  std::vector<uint16_t> halves;
  for (const float value : values)
    halves.push_back(dtype == ZO2_F16 ? numerics::f32_to_f16(value) : numerics::f32_to_bf16(value));
  memory.fill(halves);
}

}  // namespace zo2::bench
