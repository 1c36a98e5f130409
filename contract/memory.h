// What the checks of arguments know of a buffer. Each backend's buffer derives from it, and a zo2_buffer is a pointer
// to it.
#pragma once

#include <cstdint>

#include "contract/zo2.h"

namespace zo2::contract {

struct Memory {
  const void* owner;  // the device that it belongs to, as the backend's own object; compared only
  zo2_buffer_kind kind;
  uint64_t bytes;
  uint8_t* data;  // where kernels and copies find it; null for a file
  bool read_only = false;
};

}  // namespace zo2::contract
