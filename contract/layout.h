// Where the tensors of one unit lie, checked. What a backend keeps for one derives from it, and a zo2_layout is a
// pointer to it.
#pragma once

#include <cstdint>
#include <vector>

#include "contract/zo2.h"

namespace zo2::contract {

class Layout {
 public:
  // `owner`: the device that it belongs to, as the backend's own object; compared only. Throws
  // Failure(INVALID_ARGUMENT) that names the segment: a dtype that is no float, an offset that is no multiple of 64, a
  // row width that does not fit the flags, numbers that overflow, places that overlap.
  Layout(const void* owner, const zo2_segment* segments, uint64_t count);

  const void* owner() const { return owner_; }
  const std::vector<zo2_segment>& segments() const { return segments_; }
  bool gathered() const { return gathered_; }
  // Whether a segment that has elements is stored in blocks.
  bool blocked() const { return blocked_; }
  // Elements of a segment when `rows` rows of the gathered ones are present.
  static uint64_t elements(const zo2_segment& segment, uint64_t rows);
  // Largest number of rows that every gathered segment has room for.
  uint64_t most_rows() const { return most_rows_; }
  // Bytes of the wire, and of a scratch, that a prepare with `rows` rows touches (rows at most most_rows()).
  uint64_t wire_bytes(uint64_t rows) const;
  uint64_t scratch_bytes(uint64_t rows) const;
  // Canonical elements that noise is drawn for lie below this; of gathered segments only their first.
  uint64_t canonical_end() const;

 private:
  const void* const owner_;
  const std::vector<zo2_segment> segments_;
  bool gathered_ = false;
  bool blocked_ = false;
  uint64_t most_rows_ = ~uint64_t{0};
};

}  // namespace zo2::contract
