// New pages, by several threads: the kernel zeroes a page when it is first touched, and one thread does some GB of that
// in a second.
#pragma once

#include <cstdint>

namespace zo2::cuda {

// All pages of [start, start + bytes), which is mapped for reading and writing, are there when it returns; what they
// hold stays. Where no further thread can be had, it takes longer.
void touch_pages(void* start, uint64_t bytes);

// All bytes are 0 when it returns.
void zero_bytes(void* start, uint64_t bytes);

}  // namespace zo2::cuda
