#include "cuda/ops/embed.cuh"

#include "cuda/ops/row_copy.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    embed_kernel(const uint32_t* poison, EmbedArgs args, int lanes_log2, RowVectors vectors) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  const int64_t source_row = *elements<const int32_t>(args.index, lane.row, 0) - args.row_start;
  if (source_row < 0 || source_row >= args.row_count) return;
  copy_row(lane, vectors, args.out, lane.row, args.table, source_row, args.accumulate);
}

}  // namespace

cudaError_t launch_embed(const Launch& launch, const EmbedArgs& given) {
  EmbedArgs args = given;
  args.row_count = std::min(args.row_count, args.table.rows);
  if (args.out.empty() || args.row_count <= 0) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  return ZO2_LAUNCH(embed_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args,
                    rows.lanes_log2, row_vectors(args.out, args.table));
}

}  // namespace zo2::cuda
