// The bytes of an element, and the blocks of a row.
#pragma once

#include <cstdint>

#include "contract/zo2.h"

namespace zo2::contract {

// Whether elements stand in blocks, each with a scale beside it (zo2_segment).
constexpr bool is_blocked(uint32_t dtype) { return dtype == ZO2_I8 || dtype == ZO2_E4M3; }

// 4, 2 or 1; 0 for a number that is no zo2_dtype. Scales come on top.
constexpr uint64_t dtype_bytes(uint32_t dtype) {
  if (is_blocked(dtype)) return 1;
  return dtype == ZO2_F32 || dtype == ZO2_I32 ? 4 : dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 0;
}

constexpr uint64_t blocks_of_row(uint64_t row_width) { return (row_width + ZO2_BLOCK - 1) / ZO2_BLOCK; }

}  // namespace zo2::contract
