#include "cpu/ops/prepare.h"

#include <algorithm>
#include <vector>

#include "contract/dtype.h"
#include "contract/fault.h"
#include "cpu/ops/prepare_range.h"

namespace zo2::cpu {
namespace {

using contract::fail_with;
using contract::FaultKind;
using contract::PrepareCommand;

// Elements of one chunk: a tenth of a millisecond of Gaussian noise. A multiple of the 128 elements that share a noise
// counter.
constexpr uint64_t kChunk = 65536;

struct Chunk {
  uint64_t segment;
  uint64_t begin;
  uint64_t end;
};

// Chunks begin at canonical indices that are multiples of kChunk, so that they share no noise counter; gathered rows
// and segments in blocks are cut at whole rows.
std::vector<Chunk> cut(const PrepareJob& job) {
  std::vector<Chunk> chunks;
  const std::vector<zo2_segment>& segments = job.command.layout->segments();
  for (uint64_t segment = 0; segment < segments.size(); ++segment) {
    const zo2_segment& s = segments[segment];
    const bool rows = (s.flags & ZO2_SEGMENT_GATHERED) != 0 || contract::is_blocked(s.wire_dtype);
    const uint64_t size = rows ? std::max<uint64_t>(1, kChunk / s.row_width) * s.row_width : kChunk;
    const uint64_t skew = rows ? 0 : s.canonical % kChunk;
    const uint64_t count = prepare_elements(job, segment);
    for (uint64_t begin = 0; begin < count;) {
      const uint64_t end = std::min(count, begin + size - (begin == 0 ? skew : 0));
      chunks.push_back({segment, begin, end});
      begin = end;
    }
  }
  return chunks;
}

void check_rows(const PrepareCommand& command) {
  for (const zo2_segment& s : command.layout->segments()) {
    if ((s.flags & ZO2_SEGMENT_GATHERED) == 0) continue;
    for (uint64_t i = 0; i < command.row_count; ++i) {
      const int64_t row = command.rows[i];
      const bool frozen = (s.flags & ZO2_SEGMENT_FROZEN) != 0;
      if (row < 0 ||
          (!frozen && s.canonical + (static_cast<uint64_t>(row) + 1) * s.row_width > command.noise_elements)) {
        fail_with({FaultKind::kPrepareRow, 0, i, {row}});
      }
    }
  }
}

}  // namespace

void run_prepare(const PrepareCommand& command, ThreadPool& pool, bool generic) {
  check_rows(command);
  const PrepareJob job(command, generic);
  const std::vector<Chunk> chunks = cut(job);
  std::vector<PrepareTally> flags(pool.size());
  pool.parallel_for(static_cast<int64_t>(chunks.size()), [&](int64_t i, unsigned worker) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    prepare_range(job, chunk.segment, chunk.begin, chunk.end, &flags[worker]);
  });
  if (command.sticky == nullptr) return;
  PrepareTally all;
  prepare_check_updates(job, &all);
  for (const PrepareTally& one : flags) merge_tallies(&all, one);
  raise_sticky(command.sticky, job, all);
}

}  // namespace zo2::cpu
