// Checks of the tables that the ops of a program read when they run. Each is one kernel of one block that raises the
// launch's fault slot with the first fault of its table (contract/fault.h); every later kernel of the stream then does
// nothing. On a stream that failed before, they do nothing themselves.
//
// Tables are int32 in memory that the device can address; `stride` is the distance of two rows in elements. Nothing is
// launched for an empty table. The result is that of the launch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/launch.h"

namespace zo2::cuda {

// What sequences may name: rows of q, and of k and v. `keyed`: the table has a fifth column, keyStart.
struct SequenceLimits {
  int64_t rows, key_rows;
  bool keyed;
};

// attention: rows of start, length, prefixStart, prefixLength and, if keyed, keyStart; all lie within the limits and no
// two sequences share a row of q. Faults: kSequence or kSequenceKeys of the first sequence that does not fit; otherwise
// kSequenceOverlap of the first row that two sequences share.
cudaError_t launch_check_sequences(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride,
                                   int64_t sequences, const SequenceLimits& limits);

// crossEntropy: rows of row, entry; the row of every entry but -100 (ignored) lies within `rows`. Entries are not
// looked at. Fault: kTarget.
cudaError_t launch_check_targets(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride, int64_t count,
                                 int64_t rows);

// gatherRows, scatterRows: one row number a row, within `rows`. Fault: `kind`, which is kIndexRow or kScatterRow.
cudaError_t launch_check_index(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride, int64_t count,
                               int64_t rows, contract::FaultKind kind);

// prepare: dense row numbers, 0 .. row_end - 1. Fault: kPrepareRow.
cudaError_t launch_check_prepare_rows(const Launch& launch, const int32_t* rows, uint64_t count, uint64_t row_end);

}  // namespace zo2::cuda
