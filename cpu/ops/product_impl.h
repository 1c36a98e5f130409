// Kernels of the matrix product: packing into panels and the register-blocked product of panels. Compiled once per
// flavour: see simd.h.
//
// A panel pair is multiplied in kPanelRows x kPanelVectors accumulators that stay in registers: 12 of the 16 of AVX2;
// the generic flavour's vectors are two registers each on a 128-bit machine, so it has 4 of them.
#pragma once

#include "cpu/ops/rows_impl.h"

namespace zo2::cpu::ZO2_ISA {

constexpr int kPanelRows = ZO2_SIMD_AVX2 ? 6 : 4;
constexpr int kPanelVectors = ZO2_SIMD_AVX2 ? 2 : 1;
constexpr int kPanelColumns = kPanelVectors * 8;

// Interleaves `lanes` rows of a matrix: out[k * Width + lane] = rows[lane][k]; lanes beyond `lanes` become 0. Whole
// vectors are written eight lanes wide: what exceeds Width is overwritten by the next k, or lies in the slack behind
// the last panel.
template <typename Storage, int Width>
static void interleave(const typename Storage::Element* rows, int64_t stride, int64_t lanes, int64_t depth,
                       float* out) {
  for (int64_t base = 0; base < Width; base += kLanes) {
    const int64_t here = lanes - base < kLanes ? (lanes - base > 0 ? lanes - base : 0) : kLanes;
    const auto* group = rows + base * stride;
    int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) {
      Vec block[8];
      for (int64_t r = 0; r < kLanes; r++) block[r] = r < here ? Storage::load8(group + r * stride + k) : splat(0.0f);
      transpose(block);
      for (int64_t c = 0; c < kLanes; c++) store(out + (k + c) * Width + base, block[c]);
    }
    const int64_t width = Width - base < kLanes ? Width - base : kLanes;
    for (; k < depth; k++) {
      for (int64_t r = 0; r < width; r++)
        out[k * Width + base + r] = r < here ? Storage::load1(group + r * stride + k) : 0.0f;
    }
  }
}

template <typename Storage, int Width>
static void interleave_panels(const Matrix& a, int64_t rows, int64_t depth, float* panels) {
  const auto* p = static_cast<const typename Storage::Element*>(a.data);
  for (int64_t r = 0; r < rows; r += Width) {
    interleave<Storage, Width>(p + r * a.stride, a.stride, rows - r < Width ? rows - r : Width, depth,
                               panels + r * depth);
  }
}

template <int Width>
static void interleave_matrix(const Matrix& a, int64_t rows, int64_t depth, float* panels) {
  if (a.dtype == ZO2_F32) return interleave_panels<F32, Width>(a, rows, depth, panels);
  if (a.dtype == ZO2_F16) return interleave_panels<F16, Width>(a, rows, depth, panels);
  interleave_panels<BF16, Width>(a, rows, depth, panels);
}

static void pack_left(const Matrix& a, int64_t rows, int64_t depth, float* panels) {
  interleave_matrix<kPanelRows>(a, rows, depth, panels);
}

static void pack_right_transposed(const Matrix& w, int64_t columns, int64_t depth, float* panels) {
  interleave_matrix<kPanelColumns>(w, columns, depth, panels);
}

template <typename Storage>
static void pack_right_as(const Matrix& b, int64_t depth, int64_t columns, float* panels) {
  const auto* row = static_cast<const typename Storage::Element*>(b.data);
  for (int64_t k = 0; k < depth; k++, row += b.stride) {
    int64_t c = 0;
    for (; c + kPanelColumns <= columns; c += kPanelColumns) {
      float* out = panels + c * depth + k * kPanelColumns;
      for (int v = 0; v < kPanelVectors; v++) store(out + v * kLanes, Storage::load8(row + c + v * kLanes));
    }
    if (c == columns) continue;
    float* out = panels + c * depth + k * kPanelColumns;
    for (int64_t i = 0; i < kPanelColumns; i++) out[i] = c + i < columns ? Storage::load1(row + c + i) : 0.0f;
  }
}

static void pack_right(const Matrix& b, int64_t depth, int64_t columns, float* panels) {
  if (b.dtype == ZO2_F32) return pack_right_as<F32>(b, depth, columns, panels);
  if (b.dtype == ZO2_F16) return pack_right_as<F16>(b, depth, columns, panels);
  pack_right_as<BF16>(b, depth, columns, panels);
}

// One panel pair: a full kPanelRows x kPanelColumns product, written (or added) to `out`.
ZO2_INLINE void multiply_panel_pair(const float* left, const float* right, int64_t depth, bool accumulate, float* out,
                                    int64_t stride) {
  Vec sum[kPanelRows][kPanelVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kPanelRows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; v++) sum[r][v] = splat(0.0f);
  }
  for (int64_t k = 0; k < depth; k++, left += kPanelRows, right += kPanelColumns) {
    Vec b[kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; v++) b[v] = load(right + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kPanelRows; r++) {
      const Vec a = splat(left[r]);
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; v++) sum[r][v] = multiply_add(a, b[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kPanelRows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; v++) {
      float* p = out + r * stride + v * kLanes;
      store(p, accumulate ? load(p) + sum[r][v] : sum[r][v]);
    }
  }
}

static void multiply_panels(const float* left, const float* right, int64_t rows, int64_t columns, int64_t depth,
                            bool accumulate, float* out, int64_t out_stride) {
  float edge[kPanelRows * kPanelColumns];
  for (int64_t c = 0; c < columns; c += kPanelColumns) {
    const int64_t width = columns - c < kPanelColumns ? columns - c : kPanelColumns;
    for (int64_t r = 0; r < rows; r += kPanelRows) {
      const int64_t height = rows - r < kPanelRows ? rows - r : kPanelRows;
      float* block = out + r * out_stride + c;
      if (height == kPanelRows && width == kPanelColumns) {
        multiply_panel_pair(left + r * depth, right + c * depth, depth, accumulate, block, out_stride);
        continue;
      }
      multiply_panel_pair(left + r * depth, right + c * depth, depth, false, edge, kPanelColumns);
      for (int64_t i = 0; i < height; i++) {
        for (int64_t j = 0; j < width; j++) {
          const float value = edge[i * kPanelColumns + j];
          block[i * out_stride + j] = accumulate ? block[i * out_stride + j] + value : value;
        }
      }
    }
  }
}

template <int Rows>
static void thin_product_of(const float* x, int64_t x_stride, const float* w, int64_t depth, float* out,
                            int64_t out_stride) {
  Vec even[Rows], odd[Rows];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++) even[r] = odd[r] = splat(0.0f);
  int64_t k = 0;
  for (; k + 2 * kLanes <= depth; k += 2 * kLanes) {
    const Vec w0 = load(w + k), w1 = load(w + k + kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) {
      even[r] = multiply_add(load(x + r * x_stride + k), w0, even[r]);
      odd[r] = multiply_add(load(x + r * x_stride + k + kLanes), w1, odd[r]);
    }
  }
  for (; k < depth; k += kLanes) {
    const int64_t lanes = depth - k < kLanes ? depth - k : kLanes;
    const Vec w0 = load_lanes(w + k, lanes);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) even[r] = multiply_add(load_lanes(x + r * x_stride + k, lanes), w0, even[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; r++) out[r * out_stride] = lanes_sum(even[r] + odd[r]);
}

static void thin_product(const float* x, int64_t x_stride, int64_t rows, const float* w, int64_t depth, float* out,
                         int64_t out_stride) {
  if (rows == 1) return thin_product_of<1>(x, x_stride, w, depth, out, out_stride);
  if (rows == 2) return thin_product_of<2>(x, x_stride, w, depth, out, out_stride);
  if (rows == 3) return thin_product_of<3>(x, x_stride, w, depth, out, out_stride);
  thin_product_of<4>(x, x_stride, w, depth, out, out_stride);
}

}  // namespace zo2::cpu::ZO2_ISA
