#include "cuda/ops/gated_activation.cuh"

#include "cuda/ops/activation.cuh"
#include "cuda/ops/row_grid.cuh"

namespace zo2::cuda {
namespace {

struct Vectors {
  bool out, gate, up;
};

// Loads one pack of any float dtype.
__device__ inline void load_any(const Matrix& m, int64_t row, int64_t col, int64_t count, bool vector,
                                float (&x)[kPack]) {
  for_dtype(m.dtype, [&](auto t) { load_pack(elements<const decltype(t)>(m, row, col), count, vector, x); });
}

__global__ void __launch_bounds__(RowGrid::kThreads)
    gated_activation_kernel(const uint32_t* poison, GatedActivationArgs args, int lanes_log2, Vectors vectors) {
  if (*poison != 0) return;
  const RowLane lane(lanes_log2);
  if (lane.row >= args.out.rows) return;
  for (int64_t c = lane.first; c < args.out.cols; c += lane.step) {
    const int64_t count = args.out.cols - c;
    float gate[kPack], up[kPack];
    load_any(args.gate, lane.row, c, count, vectors.gate, gate);
    load_any(args.up, lane.row, c, count, vectors.up, up);
#pragma unroll
    for (int i = 0; i < kPack; i++) gate[i] = activate(args.activation, gate[i]) * up[i];
    for_dtype(args.out.dtype,
              [&](auto t) { store_pack(elements<decltype(t)>(args.out, lane.row, c), count, vectors.out, gate); });
  }
}

}  // namespace

cudaError_t launch_gated_activation(const Launch& launch, const GatedActivationArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  const RowGrid rows = row_grid(args.out);
  const Vectors vectors = {packs_aligned(args.out), packs_aligned(args.gate), packs_aligned(args.up)};
  return ZO2_LAUNCH(gated_activation_kernel, rows.grid, dim3(RowGrid::kThreads), 0, launch.stream, launch.poison(),
                    args, rows.lanes_log2, vectors);
}

}  // namespace zo2::cuda
