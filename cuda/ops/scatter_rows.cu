#include "cuda/ops/scatter_rows.cuh"

#include "cuda/ops/row_copy.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    scatter_rows_kernel(const uint32_t* poison, ScatterRowsArgs args, int lanes_log2, RowVectors vectors) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.x.rows) return;
  copy_row(lane, vectors, args.out, *elements<const int32_t>(args.index, lane.row, 0), args.x, lane.row);
}

}  // namespace

cudaError_t launch_scatter_rows(const Launch& launch, const ScatterRowsArgs& args) {
  if (args.x.empty()) return cudaSuccess;
  const RowGrid rows = row_grid(args.x);
  return ZO2_LAUNCH(scatter_rows_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args,
                    rows.lanes_log2, row_vectors(args.out, args.x));
}

}  // namespace zo2::cuda
