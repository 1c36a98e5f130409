// From a zo2_span to the bytes it stands for, checked on the host when a command is enqueued.
#pragma once

#include <cstdint>
#include <vector>

#include "contract/memory.h"
#include "contract/zo2.h"

namespace zo2::contract {

// kAny: what kernels and copies reach as memory.
enum class Kinds { kAny, kDeviceOnly, kHostOnly, kFileOnly };

// What a command asks of one of its spans. `name` is that of the field, `element` that of the span in a field of many.
struct SpanRule {
  const char* name;
  uint64_t bytes;
  uint64_t alignment;  // of the offset: 1, or the size of what is read there
  Kinds kinds;
  const char* element = nullptr;
};

inline bool is_none(const zo2_span& span) { return span.buffer == nullptr; }

const Memory& memory_of(const zo2_span& span);

// Whether it names a buffer that is a file.
bool in_file(const zo2_span& span);

// The first byte; null for one in a file, which has no address. Throws Failure(INVALID_ARGUMENT), named after `command`
// and the field, when the span is none, lies past the end of its buffer, is of the wrong kind, belongs to another
// device, or is not aligned.
uint8_t* resolve(const void* device, const char* command, const zo2_span& span, const SpanRule& rule);

// Bytes that a command reads or writes. `name` is that of the field.
struct Place {
  const char* name;
  const void* data;
  uint64_t bytes;
};

// What a command writes shares no byte with what else it writes or reads; what it only reads may lie anywhere. Throws
// Failure(INVALID_ARGUMENT) that names the command and both fields.
void check_disjoint(const char* command, const std::vector<Place>& written, const std::vector<Place>& read);

// Whether two ranges of bytes share one.
inline bool overlap(const uint8_t* a, uint64_t a_bytes, const uint8_t* b, uint64_t b_bytes) {
  return a_bytes != 0 && b_bytes != 0 && a < b + b_bytes && b < a + a_bytes;
}

}  // namespace zo2::contract
