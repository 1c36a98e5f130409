// The bytes of an element.
#pragma once

#include <cstdint>

#include "contract/zo2.h"

namespace zo2::contract {

// 4 or 2; 0 for a number that is no zo2_dtype.
constexpr uint64_t dtype_bytes(uint32_t dtype) {
  return dtype == ZO2_F32 || dtype == ZO2_I32 ? 4 : dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 0;
}

}  // namespace zo2::contract
