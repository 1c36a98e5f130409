#include "cuda/ops/cast.cuh"

#include "cuda/ops/row_copy.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    cast_kernel(const uint32_t* poison, CastArgs args, int lanes_log2, RowVectors vectors) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  copy_row(lane, vectors, args.out, lane.row, args.x, lane.row);
}

}  // namespace

cudaError_t launch_cast(const Launch& launch, const CastArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  return ZO2_LAUNCH(cast_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args,
                    rows.lanes_log2, row_vectors(args.out, args.x));
}

}  // namespace zo2::cuda
