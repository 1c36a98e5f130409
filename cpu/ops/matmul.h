// Products of two matrices in the layout of linear layers: tile[rows, columns] = a[rows, depth] w[columns, depth]^T.
//
// A product is cut into chunks by its shape alone, each chunk is computed by one thread with a fixed order of
// additions, so the result depends neither on the number of threads nor on which of them ran what. Chunks come from
// OpenBLAS where it is compiled in (called with one thread, from our pool), from the panels of ops/kernels.h otherwise.
// Operands in fp16 or bf16 are widened block by block.
#pragma once

#include <cstdint>

#include "cpu/ops/kernels.h"

namespace zo2::cpu {

// How a product of rows x columns is cut. Chunks are numbered down the rows first, so that neighbours share the right
// matrix.
struct ProductSplit {
  ProductSplit(int64_t rows, int64_t columns);
  int64_t rows, columns;              // of the whole
  int64_t chunk_rows, chunk_columns;  // of a chunk, at most
  int64_t row_chunks, column_chunks;

  int64_t chunks() const { return row_chunks * column_chunks; }
  struct Chunk {
    int64_t row, column, rows, columns;
  };
  Chunk chunk(int64_t number) const;
};

// The part of `a` that begins at (row, column).
Matrix submatrix(const Matrix& a, int64_t row, int64_t column);

// One chunk on the calling thread; tile_stride >= columns. depth, tile_stride and the strides of a and w are below
// 2^31.
void multiply_tile(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                   int64_t depth, float* tile, int64_t tile_stride);

// The same by our own blocked product, whatever is compiled in.
void multiply_tile_own(const OpKernels& kernels, const Matrix& a, const Matrix& w, int64_t rows, int64_t columns,
                       int64_t depth, float* tile, int64_t tile_stride);

// What computes large products: "OpenBLAS 0.3.21 Zen" or "own matrix product". Static storage.
const char* matmul_library();

}  // namespace zo2::cpu
