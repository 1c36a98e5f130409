// Weights to and from blocks with scales (contract/zo2.h, zo2_segment).
#pragma once

#include <cstdint>

#include "contract/zo2.h"

namespace zo2::binding {

// Whether a dtype stands in blocks.
inline bool is_blocked(zo2_dtype dtype) { return dtype == ZO2_I8 || dtype == ZO2_E4M3; }

// Elements and blocks of whole rows, counted from the start of the first row.
struct BlockRows {
  uint64_t width;  // at least 1

  // Blocks of the first `elements` of a row.
  static uint64_t blocks_of(uint64_t elements) { return (elements + ZO2_BLOCK - 1) / ZO2_BLOCK; }
  // Whether a block begins at an element, or ends before it.
  bool at_border(uint64_t element) const { return element % width % ZO2_BLOCK == 0; }
  // Blocks that hold some of the elements before this one.
  uint64_t blocks_before(uint64_t element) const {
    return element / width * blocks_of(width) + blocks_of(element % width);
  }
};

// Where a tensor lies in blocks.
struct BlockPlace {
  unsigned char* q;
  unsigned char* scales;
  zo2_dtype dtype;
  BlockRows rows;
};

// Fills blocks begin .. begin + count - 1 from `source`, whose element 0 is element `first` of the tensor, rounding to
// nearest even; 0 stands for what has no place in a block. Returns the index in `source` of the first such element, or
// kAllFinite.
int64_t quantise_blocks(const unsigned char* source, zo2_dtype source_dtype, uint64_t first, const BlockPlace& target,
                        uint64_t begin, uint64_t count);

// Elements first + at .. first + at + count - 1 of the tensor, as numbers at .. of `target`, rounding to nearest even.
// Returns the index in `target` of the first that is not finite, or kAllFinite.
int64_t dequantise_range(const BlockPlace& source, uint64_t first, unsigned char* target, zo2_dtype target_dtype,
                         uint64_t at, uint64_t count);

}  // namespace zo2::binding
