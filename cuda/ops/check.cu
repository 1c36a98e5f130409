#include "cuda/ops/check.cuh"

#include "cuda/kernel.h"
#include "cuda/ops/raise.cuh"

namespace zo2::cuda {
namespace {

using contract::Fault;
using contract::FaultKind;
using contract::kIgnored;

struct Table {
  const int32_t* data;
  int64_t stride;
  int64_t count;

  __device__ const int32_t* row(uint64_t i) const { return data + static_cast<int64_t>(i) * stride; }
};

__device__ inline bool fits(int32_t start, int32_t length, int64_t rows) {
  return start >= 0 && length >= 0 && static_cast<int64_t>(start) + length <= rows;
}

// What is wrong with the rows that sequence i names, if anything is.
__device__ inline bool sequence_fault(const Table& table, uint64_t i, uint32_t op, const SequenceLimits& limits,
                                      Fault* fault) {
  const int32_t* const s = table.row(i);
  const bool prefix_fits = fits(s[2], s[3], limits.key_rows);
  if (!fits(s[0], s[1], limits.rows) || (!limits.keyed && !prefix_fits)) {
    *fault = {FaultKind::kSequence, op, i, {s[0], s[1], s[2], s[3], limits.rows}};
    return true;
  }
  if (!limits.keyed || (prefix_fits && fits(s[4], s[1], limits.key_rows))) return false;
  *fault = {FaultKind::kSequenceKeys, op, i, {s[1], s[2], s[3], s[4], limits.key_rows}};
  return true;
}

// When a sequence that begins before sequence i (or with it, and stands earlier in the table) has the row where i
// begins: that row in the upper 32 bits, and in the lower where the other begins. Otherwise kNoFault. Every sequence
// fits, so that the numbers take 31 bits.
//
// The smallest key of a table is the first row that two sequences share, with the earlier of them: if two that begin
// before that row had it, they would share an earlier one.
__device__ inline uint64_t overlap_key(const Table& table, uint64_t i) {
  const int32_t* const mine = table.row(i);
  if (mine[1] == 0) return kNoFault;
  for (uint64_t k = 0; k < static_cast<uint64_t>(table.count); ++k) {
    const int32_t* const s = table.row(k);
    const bool before = s[0] < mine[0] || (s[0] == mine[0] && k < i);
    if (!before || s[1] == 0 || static_cast<int64_t>(s[0]) + s[1] <= mine[0]) continue;
    return static_cast<uint64_t>(mine[0]) << 32 | static_cast<uint32_t>(s[0]);
  }
  return kNoFault;
}

__global__ void __launch_bounds__(kCheckThreads)
    check_sequences_kernel(FaultTarget target, uint32_t op, Table table, SequenceLimits limits) {
  ZO2_SHARED_STATIC(unsigned long long, first_overlap);
  if (already_raised(target)) return;
  if (threadIdx.x == 0) first_overlap = kNoFault;
  uint64_t misfit = kNoFault;
  Fault fault = {};
  bool unordered = false;
  const uint64_t count = static_cast<uint64_t>(table.count);
  for (uint64_t i = threadIdx.x; i < count && misfit == kNoFault; i += kCheckThreads) {
    const int32_t* const s = table.row(i);
    if (sequence_fault(table, i, op, limits, &fault)) misfit = i;
    unordered = unordered || (i + 1 < count && table.row(i + 1)[0] < static_cast<int64_t>(s[0]) + s[1]);
  }
  if (__syncthreads_or(misfit != kNoFault ? 1 : 0) != 0) {
    if (is_first_of_block(misfit)) raise(target, fault);
    return;
  }
  // Sequences that follow each other, as batches have them, cannot overlap: only other tables pay for the search over
  // all pairs.
  if (__syncthreads_or(unordered ? 1 : 0) == 0) return;

  uint64_t mine = kNoFault;
  for (uint64_t i = threadIdx.x; i < count; i += kCheckThreads) {
    const uint64_t key = overlap_key(table, i);
    if (key < mine) mine = key;
  }
  if (mine != kNoFault) atomicMin(&first_overlap, static_cast<unsigned long long>(mine));
  __syncthreads();
  if (threadIdx.x != 0 || first_overlap == kNoFault) return;
  const int64_t row = static_cast<int64_t>(first_overlap >> 32),
                partner = static_cast<int64_t>(first_overlap & 0xffffffffu);
  raise(target, {FaultKind::kSequenceOverlap, op, static_cast<uint64_t>(row), {partner, row}});
}

__global__ void __launch_bounds__(kCheckThreads)
    check_targets_kernel(FaultTarget target, uint32_t op, Table table, int64_t rows) {
  if (already_raised(target)) return;
  check_rows(target, static_cast<uint64_t>(table.count), [=](uint64_t i, Fault* fault) {
    const int32_t* const row = table.row(i);
    if (row[1] == kIgnored || (row[0] >= 0 && row[0] < rows)) return false;
    *fault = {FaultKind::kTarget, op, i, {row[0], rows}};
    return true;
  });
}

__global__ void __launch_bounds__(kCheckThreads)
    check_index_kernel(FaultTarget target, uint32_t op, Table table, int64_t rows, FaultKind kind) {
  if (already_raised(target)) return;
  check_rows(target, static_cast<uint64_t>(table.count), [=](uint64_t i, Fault* fault) {
    const int32_t row = *table.row(i);
    if (row >= 0 && row < rows) return false;
    *fault = {kind, op, i, {row, rows}};
    return true;
  });
}

__global__ void __launch_bounds__(kCheckThreads)
    check_prepare_rows_kernel(FaultTarget target, const int32_t* rows, uint64_t count, uint64_t row_end) {
  if (already_raised(target)) return;
  check_rows(target, count, [=](uint64_t i, Fault* fault) {
    const int32_t row = rows[i];
    if (row >= 0 && static_cast<uint64_t>(row) < row_end) return false;
    *fault = {FaultKind::kPrepareRow, 0, i, {row}};
    return true;
  });
}

}  // namespace

cudaError_t launch_check_sequences(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride,
                                   int64_t sequences, const SequenceLimits& limits) {
  if (sequences == 0) return cudaSuccess;
  const Table t = {table, stride, sequences};
  return ZO2_LAUNCH(check_sequences_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), op, t, limits);
}

cudaError_t launch_check_targets(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride, int64_t count,
                                 int64_t rows) {
  if (count == 0) return cudaSuccess;
  const Table t = {table, stride, count};
  return ZO2_LAUNCH(check_targets_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), op, t, rows);
}

cudaError_t launch_check_index(const Launch& launch, uint32_t op, const int32_t* table, int64_t stride, int64_t count,
                               int64_t rows, FaultKind kind) {
  if (count == 0) return cudaSuccess;
  const Table t = {table, stride, count};
  return ZO2_LAUNCH(check_index_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), op, t, rows, kind);
}

cudaError_t launch_check_prepare_rows(const Launch& launch, const int32_t* rows, uint64_t count, uint64_t row_end) {
  if (count == 0) return cudaSuccess;
  return ZO2_LAUNCH(check_prepare_rows_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), rows, count,
                    row_end);
}

}  // namespace zo2::cuda
