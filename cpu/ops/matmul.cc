#include "cpu/ops/matmul.h"

#include <algorithm>
#include <string>

#include "contract/dtype.h"
#include "cpu/ops/scratch.h"

#ifdef ZO2_WITH_OPENBLAS
#include <cblas.h>
#endif

namespace zo2::cpu {

namespace {

// Large chunks amortise packing: 512 x 384 runs within a few per cent of the best split measured for the layers of
// OPT-125M at 512 and 1,024 rows (bench/native/matmul.cc). Narrower ones only where the product would otherwise give
// fewer than kEnoughChunks to share out.
constexpr int64_t kChunkRows = 512;
constexpr int64_t kChunkColumns[] = {384, 256, 192, 128, 96, 64};
constexpr int64_t kEnoughChunks = 4;

// Depth of one pass of the blocked product: a panel pair of it fits the first-level cache.
constexpr int64_t kDepthBlock = 256;
// Columns packed at a time: 128 KiB of right panels.
constexpr int64_t kColumnBlock = 128;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// So few rows are limited by reading w: packing it would cost more than it saves.
void multiply_thin(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                   int64_t depth, float* tile, int64_t tile_stride) {
  Scratch& scratch = Scratch::mine();
  const float* x = static_cast<const float*>(a.data);
  int64_t x_stride = a.stride;
  if (a.dtype != ZO2_F32) {
    float* wide = scratch.take(Piece::kLeftPanels, rows * depth);
    for (int64_t r = 0; r < rows; r++) kernels.widen(a.dtype, submatrix(a, r, 0).data, wide + r * depth, depth);
    x = wide;
    x_stride = depth;
  }
  float* wide = w.dtype == ZO2_F32 ? nullptr : scratch.take(Piece::kRightPanels, depth);
  for (int64_t c = 0; c < columns; c++) {
    const void* source = submatrix(w, c, 0).data;
    if (wide) kernels.widen(w.dtype, source, wide, depth);
    kernels.thin_product(x, x_stride, rows, wide ? wide : static_cast<const float*>(source), depth, tile + c,
                         tile_stride);
  }
}

#ifdef ZO2_WITH_OPENBLAS

// fp32 copy of a block, or the block itself where it is fp32 already.
Matrix widened(const OpKernels& kernels, const Matrix& a, int64_t rows, int64_t depth, Piece piece) {
  if (a.dtype == ZO2_F32) return a;
  float* wide = Scratch::mine().take(piece, rows * depth);
  for (int64_t r = 0; r < rows; r++) kernels.widen(a.dtype, submatrix(a, r, 0).data, wide + r * depth, depth);
  return {wide, ZO2_F32, depth};
}

void use_one_blas_thread() {
  static const bool once = (openblas_set_num_threads(1), true);
  static_cast<void>(once);
}

void multiply_tile_blas(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                        int64_t depth, float* tile, int64_t tile_stride) {
  use_one_blas_thread();
  // fp32 operands go in whole, the library blocks them itself; widened ones in blocks of its own depth.
  const bool whole = a.dtype == ZO2_F32 && w.dtype == ZO2_F32;
  const int64_t step = whole ? depth : 384;
  for (int64_t k = 0; k < depth; k += step) {
    const int64_t here = std::min(step, depth - k);
    const Matrix left = widened(kernels, submatrix(a, 0, k), rows, here, Piece::kLeftPanels);
    const Matrix right = widened(kernels, submatrix(w, 0, k), columns, here, Piece::kRightPanels);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows), static_cast<int>(columns),
                static_cast<int>(here), 1.0f, static_cast<const float*>(left.data), static_cast<int>(left.stride),
                static_cast<const float*>(right.data), static_cast<int>(right.stride), k == 0 ? 0.0f : 1.0f, tile,
                static_cast<int>(tile_stride));
  }
}

std::string describe_library() {
  use_one_blas_thread();
  // The configuration reads "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...".
  const std::string config = openblas_get_config();
  const size_t name = config.find(' ');
  const size_t version = name == std::string::npos ? name : config.find(' ', name + 1);
  return config.substr(0, version) + " " + openblas_get_corename();
}

#endif

}  // namespace

ProductSplit::ProductSplit(int64_t rows, int64_t columns) : rows(rows), columns(columns) {
  // Even blocks: 257 rows are 129 + 128, not 256 + 1.
  row_chunks = rows == 0 ? 0 : (rows + kChunkRows - 1) / kChunkRows;
  chunk_rows = row_chunks == 0 ? 0 : (rows + row_chunks - 1) / row_chunks;
  for (int64_t width : kChunkColumns) {
    chunk_columns = width;
    column_chunks = (columns + width - 1) / width;
    if (chunks() >= kEnoughChunks) break;
  }
}

ProductSplit::Chunk ProductSplit::chunk(int64_t number) const {
  const int64_t row = number % row_chunks * chunk_rows, column = number / row_chunks * chunk_columns;
  return {row, column, std::min(chunk_rows, rows - row), std::min(chunk_columns, columns - column)};
}

Matrix submatrix(const Matrix& a, int64_t row, int64_t column) {
  const auto* start = static_cast<const uint8_t*>(a.data);
  return {start + (row * a.stride + column) * static_cast<int64_t>(contract::dtype_bytes(a.dtype)), a.dtype, a.stride};
}

void multiply_tile(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                   int64_t depth, float* tile, int64_t tile_stride) {
#ifdef ZO2_WITH_OPENBLAS
  if (rows > kThinRowsLimit && columns > 0 && depth > 0)
    return multiply_tile_blas(kernels, a, w, rows, columns, depth, tile, tile_stride);
#endif
  multiply_tile_own(kernels, a, w, rows, columns, depth, tile, tile_stride);
}

void multiply_tile_own(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                       int64_t depth, float* tile, int64_t tile_stride) {
  if (rows <= kThinRowsLimit) return multiply_thin(kernels, a, w, rows, columns, depth, tile, tile_stride);
  Scratch& scratch = Scratch::mine();
  float* left = scratch.take(Piece::kLeftPanels, round_up(rows, kernels.panel_rows) * kDepthBlock + kPanelSlack);
  float* right =
      scratch.take(Piece::kRightPanels, round_up(kColumnBlock, kernels.panel_columns) * kDepthBlock + kPanelSlack);
  if (depth == 0) {
    for (int64_t r = 0; r < rows; r++) std::fill_n(tile + r * tile_stride, columns, 0.0f);
  }
  for (int64_t k = 0; k < depth; k += kDepthBlock) {
    const int64_t here = std::min(kDepthBlock, depth - k);
    kernels.pack_left(submatrix(a, 0, k), rows, here, left);
    for (int64_t c = 0; c < columns; c += kColumnBlock) {
      const int64_t width = std::min(kColumnBlock, columns - c);
      kernels.pack_right_transposed(submatrix(w, c, k), width, here, right);
      kernels.multiply_panels(left, right, rows, width, here, k > 0, tile + c, tile_stride);
    }
  }
}

const char* matmul_library() {
#ifdef ZO2_WITH_OPENBLAS
  static const std::string text = describe_library();
  return text.c_str();
#else
  return "own matrix product";
#endif
}

}  // namespace zo2::cpu
