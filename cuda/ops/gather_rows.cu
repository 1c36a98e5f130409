#include "cuda/ops/gather_rows.cuh"

#include "cuda/ops/row_grid.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    gather_rows_kernel(const uint32_t* poison, GatherRowsArgs args, int lanes_log2, bool x_vector, bool out_vector) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  const int64_t source_row = *elements<const int32_t>(args.index, lane.row, 0);
  for_dtype(args.x.dtype, [&](auto source) {
    for_dtype(args.out.dtype, [&](auto target) {
      using Source = decltype(source);
      using Target = decltype(target);
      const Source* from = elements<Source>(args.x, source_row, 0);
      Target* to = elements<Target>(args.out, lane.row, 0);
      for (int64_t c = lane.first; c < args.out.cols; c += lane.step) {
        float x[kPack];
        load_pack(from + c, args.out.cols - c, x_vector, x);
        store_pack(to + c, args.out.cols - c, out_vector, x);
      }
    });
  });
}

}  // namespace

cudaError_t launch_gather_rows(const Launch& launch, const GatherRowsArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  return ZO2_LAUNCH(gather_rows_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args, rows.lanes_log2,
                    packs_aligned(args.x), packs_aligned(args.out));
}

}  // namespace zo2::cuda
