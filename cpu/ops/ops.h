// The ops: one function each, called with a checked op whose operands are resolved for this run. Indices of operands
// and attributes are those of zo2.h. Each returns when its result is complete, and throws Failure when a table names a
// row that does not exist.
#pragma once

#include <cstdint>

#include "contract/fault.h"
#include "contract/program.h"
#include "cpu/ops/kernels.h"
#include "cpu/runtime/pool.h"

namespace zo2::cpu {

using contract::fail_with;
using contract::FaultKind;
using contract::Op;
using contract::View;

struct OpRun {
  const Op& op;
  uint64_t number;    // of the op in its program, for messages
  const View* views;  // one per operand of the op
  ThreadPool& pool;
  const OpKernels& kernels;
};

inline Matrix matrix_of(const View& view) { return {view.data, view.dtype, view.stride}; }

void run_embed(const OpRun& run);
void run_linear(const OpRun& run);
void run_layer_norm(const OpRun& run);
void run_attention(const OpRun& run);
void run_gather_rows(const OpRun& run);
void run_cross_entropy(const OpRun& run);
void run_rms_norm(const OpRun& run);
void run_rope(const OpRun& run);
void run_gated_activation(const OpRun& run);
void run_cast(const OpRun& run);
void run_transpose(const OpRun& run);
void run_scatter_rows(const OpRun& run);

// Elements (row, column) .. (row, column + count) as fp32: in place where they are, widened into `memory` otherwise.
const float* read_row(const OpKernels& kernels, const View& view, int64_t row, int64_t column, int64_t count,
                      float* memory);

// Where to compute such elements as fp32 before write_row: in place where out is F32, in `memory` otherwise.
float* place_row(const View& out, int64_t row, int64_t column, float* memory);
void write_row(const OpKernels& kernels, const View& out, int64_t row, int64_t column, int64_t count,
               const float* values);

// Calls body(first, last) for blocks of up to `block` of `count` rows, shared out over the pool.
template <typename Body>
void for_row_blocks(ThreadPool& pool, int64_t count, int64_t block, const Body& body) {
  pool.parallel_for((count + block - 1) / block, [&](int64_t chunk, unsigned) {
    const int64_t first = chunk * block;
    body(first, first + block < count ? first + block : count);
  });
}

}  // namespace zo2::cpu
