// The prepare pass (contract/zo2.h, zo2_prepare_args): pending updates in, updated wire bytes out, W+ and W- out, one
// read of the wire.
//
// The caller resolves the command to pointers (PrepareJob), splits segments into ranges of elements among its threads,
// and merges the flags of the ranges. Every range gives the same bytes wherever it is cut; cuts at canonical indices
// that are multiples of kGrain (128) waste nothing. Only noise of one tile (512 elements) exists at a time.
//
// Bytes moved for one element: wire read, wire written if stored, W+ and W- written.
#pragma once

#include <stdint.h>

#include "contract/commands.h"

namespace zo2::cpu {

using contract::kMaxDirections;

// A zo2_update once its projected gradients are known: D directions with their fp32 coefficients.
struct ResolvedUpdate {
  zo2_noise_kind noise;
  uint32_t step;
  uint32_t directions;
  uint64_t seed;
  float a[kMaxDirections];
  float b;            // for segments with ZO2_SEGMENT_DECAY
  const float* z;     // BUFFER noise: table of direction 0
  uint64_t z_stride;  // bytes between the tables of two directions
  bool finite;        // false: some g was not finite, and every a is 0
};

// `states`: update.directions states, `z`: where update.z lies (null unless BUFFER). Reads the g of each state: call it
// when the command runs, not when it is enqueued. update.directions is 1..kMaxDirections (checked by the caller).
ResolvedUpdate resolve_update(const zo2_update& update, const zo2_step_state* states, const float* z);

struct PrepareJob {
  const zo2_segment* segments;
  uint64_t segment_count;
  unsigned char* wire;
  unsigned char* plus;   // null: no scratch is written
  unsigned char* minus;  // null: only W+ is written
  const int32_t* rows;   // GATHERED segments: row_count row numbers
  uint64_t row_count;
  float eps;
  zo2_noise_kind noise;
  uint64_t seed;
  uint32_t step;
  uint32_t direction;
  const float* z;  // BUFFER noise
  bool store;
  zo2_rounding rounding;
  const ResolvedUpdate* updates;
  uint32_t update_count;
  bool generic;  // force the portable kernels
};

// What went wrong in a range: ZO2_STICKY_* bits and the first update, by its place in PrepareJob::updates, that caused
// one.
struct PrepareFlags {
  uint32_t flags = 0;
  uint32_t first_update = UINT32_MAX;
};

// How many elements of a segment this job has: `count`, or row_count rows of a gathered one.
uint64_t prepare_elements(const PrepareJob& job, uint64_t segment);

// Prepares elements begin .. end - 1 of a segment (end at most prepare_elements) and adds to `flags`. Ranges that do
// not overlap may run at the same time, each with flags of its own.
void prepare_range(const PrepareJob& job, uint64_t segment, uint64_t begin, uint64_t end, PrepareFlags* flags);

// The flags that need no pass over the weights: updates whose g is not finite. Call it once per job.
void prepare_check_updates(const PrepareJob& job, PrepareFlags* flags);

// into := both, order does not matter.
void merge_flags(PrepareFlags* into, const PrepareFlags& from);

// Raises the device's sticky flags; `step` stays that of the first update that raised one.
void raise_sticky(zo2_sticky* sticky, const PrepareJob& job, const PrepareFlags& flags);

}  // namespace zo2::cpu
