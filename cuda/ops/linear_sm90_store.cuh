// How the Hopper matrix product stores a warp's share of a tile straight from the accumulators, where the operands
// allow it.
#pragma once

#include "cuda/ops/linear.cuh"

namespace zo2::cuda {

// Whether store_fragments can do this epilogue: no activation or relu, bias in fp32, residual in out's dtype, and pairs
// of columns aligned.
inline bool fragments_suffice(const LinearArgs& args) {
  const auto pairs_aligned = [](const Matrix& m) { return rows_aligned(m, 2 * dtype_bytes(m.dtype)); };
  const bool bias = !args.bias.present() || (args.bias.dtype == ZO2_F32 && pairs_aligned(args.bias));
  const bool residual =
      !args.residual.present() || (args.residual.dtype == args.out.dtype && pairs_aligned(args.residual));
  const bool activation = args.activation == ZO2_ACTIVATION_NONE || args.activation == ZO2_ACTIVATION_RELU;
  return bias && residual && activation && args.out.cols % 2 == 0 && pairs_aligned(args.out);
}

template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T first, second;
};

// The accumulators of wgmma_m64k16 (sums[4 j + e]: row + 8 (e / 2), column + 8 j + e % 2) with bias, relu and residual
// into out, clipped to it. `column` is even. Each element of residual is read by the thread that then writes the same
// element of out.
template <class T, int kCount>
__device__ inline void store_fragments(const LinearArgs& args, int64_t row, int64_t column,
                                       const float (&sums)[kCount]) {
  const float* const bias = static_cast<const float*>(args.bias.data);
  const float floor = args.activation == ZO2_ACTIVATION_RELU ? 0.0f : -INFINITY;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t r = row + half * 8;
    if (r >= args.out.rows) continue;
    T* const out = static_cast<T*>(args.out.data) + r * args.out.stride;
    const T* const residual =
        args.residual.present() ? static_cast<const T*>(args.residual.data) + r * args.residual.stride : nullptr;
#pragma unroll
    for (int j = 0; j < kCount / 4; ++j) {
      const int64_t c = column + j * 8;
      if (c >= args.out.cols) continue;
      float first = sums[4 * j + 2 * half];
      float second = sums[4 * j + 2 * half + 1];
      if (bias != nullptr) {
        const float2 b = *reinterpret_cast<const float2*>(bias + c);
        first += b.x;
        second += b.y;
      }
      // Not fmaxf, which turns a NaN into 0.
      first = first < floor ? floor : first;
      second = second < floor ? floor : second;
      if (residual != nullptr) {
        const Pair<T> added = *reinterpret_cast<const Pair<T>*>(residual + c);
        first += widen(added.first);
        second += widen(added.second);
      }
      *reinterpret_cast<Pair<T>*>(out + c) = {narrow<T>(first), narrow<T>(second)};
    }
  }
}

}  // namespace zo2::cuda
