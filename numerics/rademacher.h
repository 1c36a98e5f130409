// Signs: element i takes position q = i >> 7 of its stream, of its words x0..x3 number (i >> 5) & 3, and of that word
// bit i & 31 counted from the low end. 1 means -1, 0 means +1.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

// +1 or -1 for bit `bit` (0..31) of a word.
ZO2_HD static inline float rademacher_sign(uint32_t word, uint32_t bit) {
  return bits_float(0x3f800000u | ((word >> bit) & 1u) << 31);
}

}  // namespace zo2::numerics
