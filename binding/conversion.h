#pragma once

#include <cstddef>
#include <cstdint>

#include "contract/zo2.h"

namespace zo2::binding {

inline constexpr int64_t kAllFinite = -1;

// Bytes of one element; 0 for a dtype that is no float.
size_t float_bytes(zo2_dtype dtype);

// Converts `count` elements, rounding to nearest even; neither end need be aligned. Returns the index of the first
// element that is not finite, or not finite any more in `target_dtype`; kAllFinite when there is none.
int64_t convert_range(const unsigned char* source, zo2_dtype source_dtype, unsigned char* target,
                      zo2_dtype target_dtype, size_t count);

}  // namespace zo2::binding
