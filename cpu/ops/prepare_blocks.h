// The prepare pass over elements that are stored in blocks with scales (contract/zo2.h, zo2_segment).
#pragma once

#include "cpu/ops/prepare_range.h"

namespace zo2::cpu {

// As prepare_range, for `count` elements from `element` on whose canonical indices are consecutive from `canonical`.
// They begin and end where blocks do.
void prepare_blocks(const PrepareJob& job, const zo2_segment& segment, uint64_t element, uint64_t canonical,
                    uint64_t count, PrepareTally* flags);

}  // namespace zo2::cpu
