#include "cuda/ops/embed.cuh"

#include "cuda/ops/row_grid.cuh"

namespace zo2::cuda {
namespace {

__global__ void __launch_bounds__(RowGrid::kThreads)
    embed_kernel(const uint32_t* poison, EmbedArgs args, int lanes_log2, bool table_vector, bool out_vector) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  const int64_t source_row = *elements<const int32_t>(args.index, lane.row, 0) - args.row_start;
  if (source_row < 0 || source_row >= args.row_count) return;
  for_dtype(args.table.dtype, [&](auto source) {
    for_dtype(args.out.dtype, [&](auto target) {
      using Source = decltype(source);
      using Target = decltype(target);
      const Source* from = elements<Source>(args.table, source_row, 0);
      Target* to = elements<Target>(args.out, lane.row, 0);
      for (int64_t c = lane.first; c < args.out.cols; c += lane.step) {
        const int64_t count = args.out.cols - c;
        float x[kPack];
        load_pack(from + c, count, table_vector, x);
        if (args.accumulate) {
          float before[kPack];
          load_pack(to + c, count, out_vector, before);
#pragma unroll
          for (int i = 0; i < kPack; i++) x[i] = before[i] + x[i];
        }
        store_pack(to + c, count, out_vector, x);
      }
    });
  });
}

}  // namespace

cudaError_t launch_embed(const Launch& launch, const EmbedArgs& given) {
  EmbedArgs args = given;
  args.row_count = std::min(args.row_count, args.table.rows);
  if (args.out.empty() || args.row_count <= 0) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  return ZO2_LAUNCH(embed_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(), args, rows.lanes_log2,
                    packs_aligned(args.table), packs_aligned(args.out));
}

}  // namespace zo2::cuda
