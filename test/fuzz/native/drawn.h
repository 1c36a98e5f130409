// Values drawn from an input's bytes: mostly such as a caller would give, at times any.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstring>

#include "world.h"

namespace zo2::fuzz {

// At most `most`, but for one time in sixteen.
inline uint64_t drawn(FuzzedDataProvider& from, uint64_t most) {
  if (from.ConsumeIntegralInRange(0, 15) != 15) return from.ConsumeIntegralInRange<uint64_t>(0, most);
  constexpr uint64_t kOne = 1;
  static const uint64_t interesting[] = {
      0, 1, 63, 64, kOne << 24, kOne << 31, kOne << 32, kOne << 56, (kOne << 56) + 64, ~kOne - 62, ~uint64_t{0}};
  return from.ConsumeBool()
             ? interesting[from.ConsumeIntegralInRange<size_t>(0, sizeof interesting / sizeof *interesting - 1)]
             : from.ConsumeIntegral<uint64_t>();
}

// An enumeration of C may hold any number: it is written as bytes, as a caller's is.
template <typename Enumeration>
void draw(FuzzedDataProvider& from, Enumeration* into, int most) {
  const int value = static_cast<int>(drawn(from, static_cast<uint64_t>(most)));
  static_assert(sizeof value == sizeof *into, "enumerations of C have the size of int");
  std::memcpy(into, &value, sizeof value);
}

// A span with room for `bytes` (behind `alignment` times a few bytes), or, at times, for a little less, of the wrong
// kind, or none.
inline zo2_span drawn_span(FuzzedDataProvider& from, World& world, uint64_t bytes, uint64_t alignment,
                           zo2_buffer_kind kind = ZO2_BUFFER_DEVICE) {
  constexpr uint64_t kMost = 65536;
  if (bytes > kMost) bytes = kMost;
  uint64_t offset = alignment * from.ConsumeIntegralInRange<uint64_t>(0, 3), size = offset + bytes;
  switch (from.ConsumeIntegralInRange(0, 31)) {
    case 0:
      return {nullptr, 0};
    case 1:
      size -= size < 4 ? size : 4;
      break;
    case 2:
      offset = drawn(from, size);
      break;
    case 3:
      kind = kind == ZO2_BUFFER_DEVICE ? ZO2_BUFFER_HOST : ZO2_BUFFER_DEVICE;
      break;
    default:
      break;
  }
  return {world.buffer(kind, size), offset};
}

// Fills a buffer with the input's bytes, again and again; floats of `scale` when `real`.
inline void fill(FuzzedDataProvider& from, const zo2_span& span, bool real) {
  if (span.buffer == nullptr) return;
  const auto& memory = World::memory_of(span.buffer);
  Noise noise(from.ConsumeIntegral<uint16_t>());
  const bool wild = from.ConsumeIntegralInRange(0, 7) == 0;
  for (uint64_t at = 0; at + 4 <= memory.bytes; at += 4) {
    const uint32_t bits = static_cast<uint32_t>(noise.bits());
    const float value = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-31f;
    const int32_t index = static_cast<int32_t>(bits % 8);
    if (wild)
      std::memcpy(memory.data + at, &bits, 4);
    else if (real)
      std::memcpy(memory.data + at, &value, 4);
    else
      std::memcpy(memory.data + at, &index, 4);
  }
}

}  // namespace zo2::fuzz
