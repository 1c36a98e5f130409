// Memory that direct I/O takes, for what does not lie as that wants it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "disk/file.h"

namespace zo2::disk {

// At most so many bytes are written through a buffer at a time.
constexpr uint64_t kBounceBytes = uint64_t{8} << 20;

struct FreeMemory {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
using Bounce = std::unique_ptr<uint8_t[], FreeMemory>;

// `bytes`, a multiple of kBlock, that begin at one. Throws std::bad_alloc.
inline Bounce make_bounce(uint64_t bytes) {
  auto* const memory = static_cast<uint8_t*>(std::aligned_alloc(kBlock, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  return Bounce(memory);
}

}  // namespace zo2::disk
