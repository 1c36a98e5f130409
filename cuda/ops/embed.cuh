// embed: rows of a table, or of a slice of it, added to or stored in the rows of out that name them.
#pragma once

#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

// out[r, :] = (accumulate ? out[r, :] : 0) + table[index[r] - row_start, :] where index[r] - row_start lies in [0,
// min(row_count, table.rows)); other rows of out are left as they are. out: [M, N], table: [R, N], F32, F16 or BF16
// each; index: int32 [M, 1]. out overlaps neither of them.
struct EmbedArgs {
  Matrix out, table, index;
  int64_t row_start, row_count;
  bool accumulate;
};

// The result is that of the launch. Nothing is launched when there is nothing to do.
cudaError_t launch_embed(const Launch& launch, const EmbedArgs& args);

}  // namespace zo2::cuda
