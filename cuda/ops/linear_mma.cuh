// LINEAR on tensor cores by mma.sync, for every device: 16-bit weights as they are, F32 weights rounded to tf32.
#pragma once

#include "cuda/ops/linear.cuh"

namespace zo2::cuda {

// Rows and columns of out that one block computes.
enum class LinearTile { k128x128, k128x64, k64x64 };

// The tile whose blocks keep the busiest multiprocessor occupied for the shortest time.
LinearTile choose_linear_tile(int64_t rows, int64_t columns, int multiprocessors);

// Stages of the 128 x 128 tile's ring: 4 where two blocks of so many fit on a multiprocessor, 3 where its shared memory
// is smaller (100 KiB on 8.6, 8.9 and 12.0; 164 on 8.0, 228 on 9.0 and 10.0), so that one block multiplies while the
// other stores. Of the other tiles two blocks fit everywhere. The sums do not depend on it.
int choose_linear_stages(const Traits& traits);

// As launch_linear (linear.cuh), with tensor cores whatever the weight's dtype and the device's capability.
cudaError_t launch_linear_mma(const Launch& launch, const LinearArgs& args);
// The same with a given tile; operands that neither 16-byte copies nor conversion of x alone can bring always take 64 x
// 64.
cudaError_t launch_linear_mma(const Launch& launch, const LinearArgs& args, LinearTile tile);

}  // namespace zo2::cuda
