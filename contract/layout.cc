#include "contract/layout.h"

#include <algorithm>
#include <cinttypes>

#include "contract/dtype.h"
#include "contract/status.h"

namespace zo2::contract {
namespace {

constexpr uint64_t kAlignment = 64;
// Far above any model, and low enough that sums and products with a dtype's size stay below 2^64.
constexpr uint64_t kMost = uint64_t{1} << 56;
constexpr uint32_t kFlags = ZO2_SEGMENT_DECAY | ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_GATHERED;

bool is_float(uint32_t dtype) { return dtype == ZO2_F32 || dtype == ZO2_F16 || dtype == ZO2_BF16; }

void check(const zo2_segment& s, size_t index) {
  const auto invalid = [index](const char* field, uint64_t value, const char* rule) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "segment %zu: %s is %" PRIu64 ", but %s", index, field, value, rule);
  };
  if (!is_float(s.wire_dtype) && !is_blocked(s.wire_dtype))
    invalid("wire_dtype", s.wire_dtype, "must be 0 (f32), 1 (f16), 2 (bf16), 4 (i8) or 5 (e4m3)");
  if (!is_float(s.scratch_dtype)) invalid("scratch_dtype", s.scratch_dtype, "must be 0 (f32), 1 (f16) or 2 (bf16)");
  if (s.wire_offset % kAlignment != 0) invalid("wire_offset", s.wire_offset, "must be a multiple of 64");
  if (s.scratch_offset % kAlignment != 0) invalid("scratch_offset", s.scratch_offset, "must be a multiple of 64");
  if ((s.flags & ~kFlags) != 0) invalid("flags", s.flags, "only 1 (decay), 2 (frozen) and 4 (gathered) exist");
  if (s.wire_offset > kMost) invalid("wire_offset", s.wire_offset, "may be at most 2^56");
  if (s.scratch_offset > kMost) invalid("scratch_offset", s.scratch_offset, "may be at most 2^56");
  if (s.canonical > kMost) invalid("canonical", s.canonical, "may be at most 2^56");
  if (s.count > kMost) invalid("count", s.count, "may be at most 2^56");
  if (s.scale_offset % kAlignment != 0) invalid("scale_offset", s.scale_offset, "must be a multiple of 64");
  if (s.scale_offset > kMost) invalid("scale_offset", s.scale_offset, "may be at most 2^56");
  if (!is_blocked(s.wire_dtype) && s.scale_offset != 0)
    invalid("scale_offset", s.scale_offset, "must be 0 for a segment that is not stored in blocks");
  if (s.row_width == 0) {
    if ((s.flags & ZO2_SEGMENT_GATHERED) != 0 || is_blocked(s.wire_dtype))
      invalid("row_width", s.row_width, "must be at least 1 for a gathered segment, or one in blocks");
    if (s.first_row != 0) invalid("first_row", s.first_row, "must be 0 for a segment without rows");
    return;
  }
  if (s.row_width > kMost >> 31) invalid("row_width", s.row_width, "may be at most 2^25");
  if (s.count % s.row_width != 0) invalid("count", s.count, "must be a multiple of row_width");
  if (s.first_row * s.row_width > s.canonical)
    invalid("first_row", s.first_row, "its matrix would begin before the canonical index 0");
}

// Of the first `elements`, which are whole rows.
uint64_t blocks_of(const zo2_segment& s, uint64_t elements) {
  return elements / s.row_width * blocks_of_row(s.row_width);
}

struct Place {
  uint64_t begin;
  uint64_t end;
  size_t segment;
};

// Two segments in one place would be written by two threads at once.
void check_disjoint(std::vector<Place> places, const char* what) {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < places.size(); ++i) {
    if (places[i].begin < places[i - 1].end) {
      fail(ZO2_STATUS_INVALID_ARGUMENT,
           "segment %zu: its %s bytes start at %" PRIu64 ", inside those of segment %zu, which end at %" PRIu64,
           places[i].segment, what, places[i].begin, places[i - 1].segment, places[i - 1].end);
    }
  }
}

}  // namespace

Layout::Layout(const void* owner, const zo2_segment* segments, uint64_t count)
    : owner_(owner), segments_(segments, segments + count) {
  std::vector<Place> wire;
  std::vector<Place> scratch;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const zo2_segment& s = segments_[i];
    check(s, i);
    if ((s.flags & ZO2_SEGMENT_GATHERED) != 0) {
      gathered_ = true;
      most_rows_ = std::min(most_rows_, s.count / s.row_width);
    }
    if (s.count == 0) continue;
    wire.push_back({s.wire_offset, s.wire_offset + s.count * dtype_bytes(s.wire_dtype), i});
    if (is_blocked(s.wire_dtype)) {
      blocked_ = true;
      wire.push_back({s.scale_offset, s.scale_offset + blocks_of(s, s.count), i});
    }
    scratch.push_back({s.scratch_offset, s.scratch_offset + s.count * dtype_bytes(s.scratch_dtype), i});
  }
  check_disjoint(std::move(wire), "wire");
  check_disjoint(std::move(scratch), "scratch");
}

uint64_t Layout::elements(const zo2_segment& segment, uint64_t rows) {
  return (segment.flags & ZO2_SEGMENT_GATHERED) != 0 ? rows * segment.row_width : segment.count;
}

uint64_t Layout::wire_bytes(uint64_t rows) const {
  uint64_t end = 0;
  for (const zo2_segment& s : segments_) {
    const uint64_t n = elements(s, rows);
    if (n == 0) continue;
    end = std::max(end, s.wire_offset + n * dtype_bytes(s.wire_dtype));
    if (is_blocked(s.wire_dtype)) end = std::max(end, s.scale_offset + blocks_of(s, n));
  }
  return end;
}

uint64_t Layout::scratch_bytes(uint64_t rows) const {
  uint64_t end = 0;
  for (const zo2_segment& s : segments_) {
    const uint64_t n = elements(s, rows);
    if (n != 0) end = std::max(end, s.scratch_offset + n * dtype_bytes(s.scratch_dtype));
  }
  return end;
}

uint64_t Layout::canonical_end() const {
  uint64_t end = 0;
  for (const zo2_segment& s : segments_) {
    if ((s.flags & ZO2_SEGMENT_FROZEN) != 0) continue;
    end = std::max(end, s.canonical + ((s.flags & ZO2_SEGMENT_GATHERED) != 0 ? 0 : s.count));
  }
  return end;
}

}  // namespace zo2::contract
