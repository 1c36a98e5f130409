// The kernels of layerNorm and rmsNorm. A row is read from memory once and kept in registers: by one warp when it is
// short, by one block otherwise. Only rows of more than kMostRowColumns columns are read three times. Mean, then mean
// of squared differences, both in fp32.
#pragma once

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/ops/pack.cuh"
#include "cuda/ops/reduce.cuh"

namespace zo2::cuda {

// Each of `groups` slices of `width` columns of every row of x is a row of its own.
struct RowNorm {
  Matrix out, x, gain, bias;  // bias.data may be null
  float epsilon;
  int64_t groups, width;
  bool out_vector, x_vector, gain_vector, bias_vector;
};

namespace row_norm {

constexpr int kWarpsPerBlock = 4;
constexpr int kBlockPacks = 2;  // a thread of a block keeps so many packs
constexpr int64_t kMostRowColumns = 1024 * kBlockPacks * kPack;
constexpr int kLongRowThreads = 512;

// Pack i of thread t of `threads` holds the columns from (i * threads + t) * kPack on.
template <int kPacks>
__device__ void load_row(const Matrix& m, int64_t row, int64_t col, int64_t width, bool vector, int thread, int threads,
                         float (&x)[kPacks][kPack]) {
  for_dtype(m.dtype, [&](auto t) {
    const auto* p = elements<const decltype(t)>(m, row, col);
#pragma unroll
    for (int i = 0; i < kPacks; i++) {
      const int64_t c = static_cast<int64_t>(i * threads + thread) * kPack;
      load_pack(p + c, width - c, vector, x[i]);
    }
  });
}

template <int kPacks>
__device__ void store_row(const Matrix& m, int64_t row, int64_t col, int64_t width, bool vector, int thread,
                          int threads, const float (&x)[kPacks][kPack]) {
  for_dtype(m.dtype, [&](auto t) {
    auto* p = elements<decltype(t)>(m, row, col);
#pragma unroll
    for (int i = 0; i < kPacks; i++) {
      const int64_t c = static_cast<int64_t>(i * threads + thread) * kPack;
      store_pack(p + c, width - c, vector, x[i]);
    }
  });
}

// Normalises one row. `sum` adds a value up over the threads of the row.
template <bool kCenter, int kPacks, class Sum>
__device__ void normalise(const RowNorm& args, int64_t row, int64_t col, int thread, int threads, const Sum& sum) {
  float x[kPacks][kPack];
  load_row<kPacks>(args.x, row, col, args.width, args.x_vector, thread, threads, x);
  const float width = static_cast<float>(args.width);
  if (kCenter) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < kPacks; i++) {
#pragma unroll
      for (int j = 0; j < kPack; j++) total += x[i][j];
    }
    const float mean = sum(total) / width;
#pragma unroll
    for (int i = 0; i < kPacks; i++) {
      const int64_t left = args.width - static_cast<int64_t>(i * threads + thread) * kPack;
#pragma unroll
      for (int j = 0; j < kPack; j++) x[i][j] = j < left ? x[i][j] - mean : 0.0f;
    }
  }
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kPacks; i++) {
#pragma unroll
    for (int j = 0; j < kPack; j++) squares = fmaf(x[i][j], x[i][j], squares);
  }
  const float inverse = 1.0f / sqrtf(sum(squares) / width + args.epsilon);
  float parameter[kPacks][kPack];
  load_row<kPacks>(args.gain, 0, 0, args.width, args.gain_vector, thread, threads, parameter);
#pragma unroll
  for (int i = 0; i < kPacks; i++) {
#pragma unroll
    for (int j = 0; j < kPack; j++) x[i][j] = x[i][j] * inverse * parameter[i][j];
  }
  if (args.bias.present()) {
    load_row<kPacks>(args.bias, 0, 0, args.width, args.bias_vector, thread, threads, parameter);
#pragma unroll
    for (int i = 0; i < kPacks; i++) {
#pragma unroll
      for (int j = 0; j < kPack; j++) x[i][j] += parameter[i][j];
    }
  }
  store_row<kPacks>(args.out, row, col, args.width, args.out_vector, thread, threads, x);
}

template <bool kCenter, int kPacks>
__global__ void __launch_bounds__(kWarpsPerBlock * 32) short_rows_kernel(const uint32_t* poison, RowNorm args) {
  if (*poison != 0) return;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / 32;
  if (index >= args.x.rows * args.groups) return;  // whole warps
  normalise<kCenter, kPacks>(args, index / args.groups, index % args.groups * args.width,
                             static_cast<int>(threadIdx.x) % 32, 32, [](float x) { return warp_sum(x); });
}

template <bool kCenter>
__global__ void __launch_bounds__(1024) rows_kernel(const uint32_t* poison, RowNorm args) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(float[32], partial);
  const int64_t index = blockIdx.x;
  normalise<kCenter, kBlockPacks>(args, index / args.groups, index % args.groups * args.width,
                                  static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x),
                                  [&](float x) { return block_sum(x, partial); });
}

// Element by element in the last pass, so that out may be x.
template <bool kCenter>
__global__ void __launch_bounds__(kLongRowThreads) long_rows_kernel(const uint32_t* poison, RowNorm args) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(float[32], partial);
  const int64_t row = blockIdx.x / args.groups, col = blockIdx.x % args.groups * args.width;
  const int thread = static_cast<int>(threadIdx.x);
  const float width = static_cast<float>(args.width);
  const auto for_packs = [&](auto&& body) {
    for (int64_t c = static_cast<int64_t>(thread) * kPack; c < args.width; c += kLongRowThreads * kPack) {
      float x[1][kPack];
      load_row<1>(args.x, row, col + c, args.width - c, args.x_vector, 0, 1, x);
      body(c, x);
    }
  };
  float mean = 0.0f;
  if (kCenter) {
    float total = 0.0f;
    for_packs([&](int64_t, const float (&x)[1][kPack]) {
#pragma unroll
      for (int j = 0; j < kPack; j++) total += x[0][j];
    });
    mean = block_sum(total, partial) / width;
  }
  float squares = 0.0f;
  for_packs([&](int64_t c, const float (&x)[1][kPack]) {
#pragma unroll
    for (int j = 0; j < kPack; j++) {
      const float difference = j < args.width - c ? x[0][j] - mean : 0.0f;
      squares = fmaf(difference, difference, squares);
    }
  });
  const float inverse = 1.0f / sqrtf(block_sum(squares, partial) / width + args.epsilon);
  for_packs([&](int64_t c, float (&x)[1][kPack]) {
    float gain[1][kPack], bias[1][kPack] = {};
    load_row<1>(args.gain, 0, c, args.width - c, args.gain_vector, 0, 1, gain);
    if (args.bias.present()) load_row<1>(args.bias, 0, c, args.width - c, args.bias_vector, 0, 1, bias);
#pragma unroll
    for (int j = 0; j < kPack; j++) x[0][j] = (x[0][j] - mean) * inverse * gain[0][j] + bias[0][j];
    store_row<1>(args.out, row, col + c, args.width - c, args.out_vector, 0, 1, x);
  });
}

// Packs of a slice are aligned when the row and every slice in it begin at 16 bytes.
inline bool slices_aligned(const Matrix& m, int64_t groups, int64_t width) {
  return packs_aligned(m) && (groups == 1 || width * dtype_bytes(m.dtype) % 16 == 0);
}

template <bool kCenter, int kPacks>
cudaError_t launch_short_rows(const Launch& launch, int64_t rows, const RowNorm& args) {
  const dim3 grid(static_cast<unsigned>((rows + kWarpsPerBlock - 1) / kWarpsPerBlock));
  return ZO2_LAUNCH((short_rows_kernel<kCenter, kPacks>), grid, dim3(kWarpsPerBlock * 32), 0, launch.stream,
                    launch.poison(), args);
}

}  // namespace row_norm

// Divides each row of x into slices as wide as gain and normalises them; with kCenter the mean is taken off first.
// gain's width divides x's.
template <bool kCenter>
cudaError_t launch_row_norm(const Launch& launch, const Matrix& out, const Matrix& x, const Matrix& gain,
                            const Matrix& bias, float epsilon) {
  using namespace row_norm;
  if (out.empty()) return cudaSuccess;
  const int64_t width = gain.cols, groups = x.cols / width, rows = x.rows * groups, packs = packs_of(width);
  const RowNorm args = {out,
                        x,
                        gain,
                        bias,
                        epsilon,
                        groups,
                        width,
                        slices_aligned(out, groups, width),
                        slices_aligned(x, groups, width),
                        packs_aligned(gain),
                        packs_aligned(bias)};
  if (packs <= 32) return launch_short_rows<kCenter, 1>(launch, rows, args);
  if (packs <= 2 * 32) return launch_short_rows<kCenter, 2>(launch, rows, args);
  if (packs <= 4 * 32) return launch_short_rows<kCenter, 4>(launch, rows, args);
  const dim3 grid(static_cast<unsigned>(rows));
  if (width > kMostRowColumns) {
    return ZO2_LAUNCH((long_rows_kernel<kCenter>), grid, dim3(kLongRowThreads), 0, launch.stream, launch.poison(),
                      args);
  }
  const unsigned threads = static_cast<unsigned>((packs + 32 * kBlockPacks - 1) / (32 * kBlockPacks) * 32);
  return ZO2_LAUNCH((rows_kernel<kCenter>), grid, dim3(threads), 0, launch.stream, launch.poison(), args);
}

}  // namespace zo2::cuda
