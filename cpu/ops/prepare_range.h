// The prepare pass (contract/zo2.h, zo2_prepare_args): pending updates in, updated wire bytes out, perturbed
// weights out, one read of the wire.
//
// The caller makes a job of the command, splits segments into ranges of elements among its threads, and merges the
// flags of the ranges. Every range gives the same bytes wherever it is cut; cuts at canonical indices that are
// multiples of kGrain (128) waste nothing. Only noise of one tile (512 elements) exists at a time. Segments that are
// stored in blocks are cut between blocks.
//
// Bytes moved for one element: wire read, wire written if stored, every side written.
#pragma once

#include <stdint.h>

#include <vector>

#include "contract/commands.h"
#include "cpu/ops/tile.h"

namespace zo2::cpu {

// An update once its coefficients are known.
struct ResolvedUpdate {
  contract::PendingUpdate pending;
  float a[contract::kMaxDirections];  // by direction
  float b;                            // for segments with ZO2_SEGMENT_DECAY
  bool finite;                        // false: a coefficient was not finite, and every a is 0
};

struct PrepareJob {
  // Reads the coefficients of the updates: call it when the command runs, not when it is enqueued. `command` outlives
  // the job. `generic` forces the portable kernels (same bits).
  PrepareJob(const contract::PrepareCommand& command, bool generic);

  const contract::PrepareCommand& command;
  const TileKernels& kernels;
  std::vector<ResolvedUpdate> updates;  // of command.updates
};

// What went wrong in a range: ZO2_STICKY_* bits and the first update, by its place in the list, that caused one.
struct PrepareTally {
  uint32_t flags = 0;
  uint32_t first_update = UINT32_MAX;
};

// How many elements of a segment this job has: `count`, or row_count rows of a gathered one.
uint64_t prepare_elements(const PrepareJob& job, uint64_t segment);

// Prepares elements begin .. end - 1 of a segment (end at most prepare_elements) and adds to `flags`. Ranges that do
// not overlap may run at the same time, each with flags of its own.
void prepare_range(const PrepareJob& job, uint64_t segment, uint64_t begin, uint64_t end, PrepareTally* flags);

// The flags that need no pass over the weights: updates with a coefficient that is not finite. Call it once per job.
void prepare_check_updates(const PrepareJob& job, PrepareTally* flags);

// into := both, order does not matter.
void merge_tallies(PrepareTally* into, const PrepareTally& from);

// Raises the device's sticky flags; `step` stays that of the first update that raised one.
void raise_sticky(zo2_sticky* sticky, const PrepareJob& job, const PrepareTally& flags);

}  // namespace zo2::cpu
