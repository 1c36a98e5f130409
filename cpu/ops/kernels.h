// The inner loops of the ops, in two flavours made from one source (`*_impl.h`): AVX2 and generic. Each works on one
// row, or on one block that fits the caches; threads, splits and storage of whole operands are the business of the
// files named after the ops.
//
// Arrays need no alignment. A kernel neither reads nor writes beyond the counts it is given, but for the slack of
// packed panels.
#pragma once

#include <cstdint>

#include "contract/zo2.h"

namespace zo2::cpu {

// Rows of elements in memory; `stride` is in elements.
struct Matrix {
  const void* data;
  zo2_dtype dtype;
  int64_t stride;
};

// What becomes of a product besides what is added to it.
struct LinearEnd {
  float scale;
  int activation;
  bool inner;
};

constexpr int64_t kPanelSlack = 8;     // floats that packing may write behind the last panel
constexpr int64_t kThinRowsLimit = 4;  // rows that one call of thin_product takes

struct OpKernels {
  const char* name;

  // count elements to and from fp32, to nearest even.
  void (*widen)(zo2_dtype dtype, const void* source, float* out, int64_t count);
  void (*narrow)(const float* source, zo2_dtype dtype, void* out, int64_t count);

  // Packed panels of a matrix product. The left matrix becomes panels of `panel_rows` rows, the right one panels of
  // `panel_columns` columns; in a panel, element (lane, k) lies at k * lanes + lane, and lanes beyond the matrix are 0.
  int64_t panel_rows;
  int64_t panel_columns;
  void (*pack_left)(const Matrix& a, int64_t rows, int64_t depth, float* panels);
  void (*pack_right)(const Matrix& b, int64_t depth, int64_t columns, float* panels);             // b[depth, columns]
  void (*pack_right_transposed)(const Matrix& w, int64_t columns, int64_t depth, float* panels);  // w[columns, depth]
  // out[rows, columns] = (accumulate ? out : 0) + left right, over `depth`.
  void (*multiply_panels)(const float* left, const float* right, int64_t rows, int64_t columns, int64_t depth,
                          bool accumulate, float* out, int64_t out_stride);
  // out[r * out_stride] = x[r, :] . w for 1 <= rows <= kThinRowsLimit.
  void (*thin_product)(const float* x, int64_t x_stride, int64_t rows, const float* w, int64_t depth, float* out,
                       int64_t out_stride);

  // out = activation(scale * product + bias) + residual, or activation(scale * product + bias + residual) where
  // `inner`; bias and residual may be null, out may be product or residual.
  void (*finish_linear)(const LinearEnd& end, const float* product, const float* bias, const float* residual,
                        float* out, int64_t count);
  // sum += x
  void (*add)(float* sum, const float* x, int64_t count);
  // row *= factor
  void (*scale)(float* row, float factor, int64_t count);
  // Two passes: the mean, then the mean of squared differences. bias may be null, out may be x.
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float epsilon, float* out, int64_t count);

  // out = x / sqrt(mean(x^2) + epsilon) * gain. out may be x.
  void (*rms_norm)(const float* x, const float* gain, float epsilon, float* out, int64_t count);
  // out = activation(gate) * up. out may be gate.
  void (*gated_activation)(const float* gate, const float* up, int activation, float* out, int64_t count);
  // Rotates the `count` pairs (x[j], x[count + j]) by the angles whose cosines and sines are given. out may be x.
  void (*rotate)(const float* x, const float* cosines, const float* sines, float* out, int64_t count);

  // The largest of count >= 1 elements, NaN ignored; -infinity when all are NaN.
  float (*maximum)(const float* row, int64_t count);
  // Sum of exp(row - shift).
  float (*exponential_sum)(const float* row, float shift, int64_t count);
  // One block of a streaming softmax: the first `valid` >= 1 of `count` scores, times `scale`, become exp(score - new
  // maximum), the others
  // 0. Updates the running maximum and sum; returns exp(old maximum - new maximum), by which what was accumulated
  // before is to be scaled.
  float (*softmax_block)(float* scores, int64_t valid, int64_t count, float scale, float* running_maximum,
                         float* running_sum);
};

// `vectorised` asks for AVX2, FMA and F16C: the caller has checked that they are there. Builds for other processors
// have one flavour.
const OpKernels& op_kernels(bool vectorised);

}  // namespace zo2::cpu
