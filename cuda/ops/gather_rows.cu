#include "cuda/ops/gather_rows.cuh"

#include "cuda/ops/row_copy.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    gather_rows_kernel(const uint32_t* poison, GatherRowsArgs args, int lanes_log2, RowVectors vectors) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  copy_row(lane, vectors, args.out, lane.row, args.x, *elements<const int32_t>(args.index, lane.row, 0));
}

}  // namespace

cudaError_t launch_gather_rows(const Launch& launch, const GatherRowsArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  return ZO2_LAUNCH(gather_rows_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args,
                    rows.lanes_log2, row_vectors(args.out, args.x));
}

}  // namespace zo2::cuda
