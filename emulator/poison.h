// Marks memory as out of bounds for AddressSanitizer; nothing in other builds.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace zo2::emu {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPoisons = true;
inline void poison(const void* address, size_t bytes) { __asan_poison_memory_region(address, bytes); }
inline void unpoison(const void* address, size_t bytes) { __asan_unpoison_memory_region(address, bytes); }
// Whether any of these bytes is out of bounds.
inline bool poisoned(const void* address, size_t bytes) {
  return bytes > 0 && __asan_region_is_poisoned(const_cast<void*>(address), bytes) != nullptr;
}
#else
constexpr bool kPoisons = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline bool poisoned(const void*, size_t) { return false; }
#endif

}  // namespace zo2::emu
