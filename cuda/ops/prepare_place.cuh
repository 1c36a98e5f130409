// Which block of a prepare has which part of which segment. The blocks of a segment follow each other, and each has
// kBlockGroups groups of eight elements, thread t those at t, t + kThreads and so on.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"

namespace zo2::cuda {

constexpr int kGroup = 8;
constexpr int kPrepareThreads = 256;
constexpr int kPreparePasses = 4;
constexpr uint64_t kBlockGroups = kPrepareThreads * kPreparePasses;

struct Place {
  zo2_segment segment;
  uint64_t first_group;
};

ZO2_HD inline bool is_gathered(const zo2_segment& s) { return (s.flags & ZO2_SEGMENT_GATHERED) != 0; }

// Groups that a row of a gathered segment, wherever it begins in the canonical order, lies in at most.
ZO2_HD inline uint64_t groups_of_row(const zo2_segment& s) {
  const bool aligned = s.canonical % kGroup == 0 && s.row_width % kGroup == 0;
  return aligned ? s.row_width / kGroup : (s.row_width + 2 * kGroup - 2) / kGroup;
}

ZO2_HD inline bool is_blocked(const zo2_segment& s) { return s.wire_dtype == ZO2_I8 || s.wire_dtype == ZO2_E4M3; }

// Octets of a block with a scale, and of a segment in such blocks its rows, and the blocks of each.
constexpr int kBlockOctets = ZO2_BLOCK / kGroup;
ZO2_HD inline uint64_t rows_in_blocks(const zo2_segment& s, uint64_t row_count) {
  return is_gathered(s) ? row_count : s.count / s.row_width;
}
ZO2_HD inline uint64_t scales_of_row(const zo2_segment& s) { return (s.row_width + ZO2_BLOCK - 1) / ZO2_BLOCK; }

ZO2_HD inline uint64_t groups_of(const zo2_segment& s, uint64_t row_count) {
  if (is_blocked(s)) return rows_in_blocks(s, row_count) * scales_of_row(s) * kBlockOctets;
  if (is_gathered(s)) return row_count * groups_of_row(s);
  return s.count == 0 ? 0 : (s.canonical % kGroup + s.count + kGroup - 1) / kGroup;
}

ZO2_HD inline uint64_t blocks_of(const zo2_segment& s, uint64_t row_count) {
  return (groups_of(s, row_count) + kBlockGroups - 1) / kBlockGroups;
}

// Finds the segment of this block by adding up the blocks of those before it, 32 at a time: units have few segments,
// and a table of sums would have to be sent anew whenever the number of gathered rows changes. Called by warp 0; the
// segment of a block that has none is empty.
__device__ inline void locate(const zo2_segment* segments, uint64_t segment_count, uint64_t row_count, Place* place) {
  const uint64_t block = blockIdx.x;
  uint64_t before = 0;
  if (threadIdx.x == 0) *place = {};
  __syncwarp();
  for (uint64_t first = 0; first < segment_count; first += 32) {
    const uint64_t index = first + threadIdx.x;
    const uint64_t mine = index < segment_count ? blocks_of(segments[index], row_count) : 0;
    uint64_t sum = mine;
    for (unsigned distance = 1; distance < 32; distance *= 2) {
      const uint64_t below = __shfl_up_sync(0xffffffffu, static_cast<unsigned long long>(sum), distance);
      if (threadIdx.x >= distance) sum += below;
    }
    const uint64_t begin = before + sum - mine;
    if (block >= begin && block < begin + mine) *place = {segments[index], (block - begin) * kBlockGroups};
    before += __shfl_sync(0xffffffffu, static_cast<unsigned long long>(sum), 31);
    if (block < before) break;
  }
}

}  // namespace zo2::cuda
