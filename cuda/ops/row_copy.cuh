// What cast, gatherRows, scatterRows and embed share: a row of one matrix becomes, or is added to, a row of another,
// which may be of another dtype.
#pragma once

#include "cuda/ops/row_grid.cuh"

namespace zo2::cuda {

// Whether packs of the rows of either matrix may be accessed as vectors.
struct RowVectors {
  bool out, x;
};

inline RowVectors row_vectors(const Matrix& out, const Matrix& x) { return {packs_aligned(out), packs_aligned(x)}; }

// out[to, :] = (accumulate ? out[to, :] : 0) + x[from, :], rounded to nearest even: this lane's columns. out and x have
// as many columns.
__device__ inline void copy_row(const RowLane& lane, const RowVectors& vectors, const Matrix& out, int64_t to,
                                const Matrix& x, int64_t from, bool accumulate = false) {
  for_dtype(x.dtype, [&](auto source) {
    for_dtype(out.dtype, [&](auto target) {
      using Source = decltype(source);
      using Target = decltype(target);
      const Source* read = elements<Source>(x, from, 0);
      Target* written = elements<Target>(out, to, 0);
      for (int64_t c = lane.first; c < out.cols; c += lane.step) {
        const int64_t count = out.cols - c;
        float value[kPack];
        load_pack(read + c, count, vectors.x, value);
        if (accumulate) {
          float before[kPack];
          load_pack(written + c, count, vectors.out, before);
#pragma unroll
          for (int i = 0; i < kPack; i++) value[i] = before[i] + value[i];
        }
        store_pack(written + c, count, vectors.out, value);
      }
    });
  });
}

}  // namespace zo2::cuda
