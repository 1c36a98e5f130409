// How tiles of a product's operands come from global into shared memory. A tile is some rows of the operand, 64 bytes
// deep, cut into chunks of 16 bytes; every thread brings the same number of chunks, all at the same place along the
// depth.
#pragma once

#include "cuda/instructions/cp_async.h"
#include "cuda/ops/matrix.cuh"

namespace zo2::cuda {

constexpr int kChunkBytes = 16;
constexpr int kRowChunks = 4;

// Elements of a chunk, and of a tile's depth, by the dtype they have in shared memory.
template <zo2_dtype kType>
constexpr int kChunkElements = kType == ZO2_F32 ? 4 : 8;
template <zo2_dtype kType>
constexpr int kTileDepth = kRowChunks * kChunkElements<kType>;

// kAsync: cp.async; the operand has the shared memory's dtype and rows aligned to 16 bytes. kRegisters: through
// registers; any operand.
enum class Fetch { kAsync, kRegisters };

inline bool fetches_async(const Matrix& m, zo2_dtype type) { return m.dtype == type && rows_aligned(m, kChunkBytes); }

// A chunk on its way, as it was read: F32 one element per word, 16-bit dtypes two.
struct RawChunk {
  uint32_t words[8];
};

// Reads the first `count` (0..kElements) elements at `p`; the others become 0. `vectors`: p is a multiple of 16 bytes,
// or of the whole chunk where that is smaller.
template <int kElements>
__device__ inline void read_raw(RawChunk& raw, const unsigned char* p, int count, zo2_dtype from, bool vectors) {
  if (vectors && count == kElements) {
    if (from != ZO2_F32 && kElements == 4) {
      const uint2 v = *reinterpret_cast<const uint2*>(p);
      raw.words[0] = v.x, raw.words[1] = v.y;
      return;
    }
    const uint4 low = *reinterpret_cast<const uint4*>(p);
    raw.words[0] = low.x, raw.words[1] = low.y, raw.words[2] = low.z, raw.words[3] = low.w;
    if (from != ZO2_F32 || kElements == 4) return;
    const uint4 high = *reinterpret_cast<const uint4*>(p + 16);
    raw.words[4] = high.x, raw.words[5] = high.y, raw.words[6] = high.z, raw.words[7] = high.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) raw.words[i] = 0;
  if (from == ZO2_F32) {
#pragma unroll
    for (int i = 0; i < kElements; i++) {
      if (i < count) raw.words[i] = reinterpret_cast<const uint32_t*>(p)[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < kElements; i++) {
      if (i < count) raw.words[i / 2] |= static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(p)[i]) << 16 * (i % 2);
    }
  }
}

__device__ inline float raw_element(const RawChunk& raw, int i, zo2_dtype from) {
  if (from == ZO2_F32) return __uint_as_float(raw.words[i]);
  return widen_bits((raw.words[i / 2] >> 16 * (i % 2)) & 0xffffu, from);
}

// The chunk in the dtype of the shared memory: widened exactly, or rounded to nearest even.
template <zo2_dtype kType>
__device__ inline uint4 convert_raw(const RawChunk& raw, zo2_dtype from) {
  if (from == kType) return make_uint4(raw.words[0], raw.words[1], raw.words[2], raw.words[3]);
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (kType == ZO2_F32) {
      words[i] = __float_as_uint(raw_element(raw, i, from));
    } else {
      words[i] = narrow_bits(raw_element(raw, 2 * i, from), kType) |
                 narrow_bits(raw_element(raw, 2 * i + 1, from), kType) << 16;
    }
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// One thread's part in bringing tiles of one operand. Layout says where a chunk lies in a tile in shared memory: kRows,
// and
//   static void put(Tile&, int row, int chunk, uint4)         for kRegisters
//   static void* place(Tile&, int row, int chunk)             for kAsync
// A tile is brought by begin, then end; in between, with kRegisters, it is on its way in this thread's registers.
// Nothing outside the operand is read; what lies outside becomes 0.
template <zo2_dtype kType, Fetch kFetch, class Layout, int kThreads>
class TileLoader {
 public:
  using Tile = typename Layout::Tile;

  __device__ explicit TileLoader(const Matrix& m) : m_(m), vectors_(rows_aligned(m, kChunkBytes)) {}

  // The tiles that follow are of rows `row` .. `row + kRows`.
  __device__ void move_to(int64_t row) {
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
      const int64_t r = row + tile_row(i);
      row_start_[i] = r < m_.rows ? element_address(m_, r, 0) : nullptr;
    }
  }

  __device__ void begin(Tile& tile, int64_t depth) {
    const int64_t k = depth + chunk() * kChunkElements<kType>, left = m_.cols - k;
    const int within = left <= 0 ? 0 : left < kChunkElements<kType> ? static_cast<int>(left) : kChunkElements<kType>;
    const int64_t offset = k * dtype_bytes(kFetch == Fetch::kAsync ? kType : m_.dtype);
#pragma unroll
    for (int i = 0; i < kChunks; i++) {
      const int count = row_start_[i] == nullptr ? 0 : within;
      const unsigned char* from = count > 0 ? row_start_[i] + offset : static_cast<const unsigned char*>(m_.data);
      if constexpr (kFetch == Fetch::kAsync) {
        cp_async_16(Layout::place(tile, tile_row(i), chunk()), from, count * (kChunkBytes / kChunkElements<kType>));
      } else {
        read_raw<kChunkElements<kType>>(raw_[i], from, count, m_.dtype, vectors_);
      }
    }
  }

  __device__ void end(Tile& tile) {
    if constexpr (kFetch == Fetch::kRegisters) {
#pragma unroll
      for (int i = 0; i < kChunks; i++) Layout::put(tile, tile_row(i), chunk(), convert_raw<kType>(raw_[i], m_.dtype));
    }
  }

 private:
  static constexpr int kChunks = Layout::kRows * kRowChunks / kThreads;
  static_assert(kChunks * kThreads == Layout::kRows * kRowChunks && kThreads % kRowChunks == 0,
                "threads share the chunks evenly");

  __device__ static int chunk() { return static_cast<int>(threadIdx.x) % kRowChunks; }
  __device__ static int tile_row(int i) {
    return static_cast<int>(threadIdx.x) / kRowChunks + i * (kThreads / kRowChunks);
  }

  const Matrix& m_;
  const bool vectors_;
  const unsigned char* row_start_[kChunks];
  RawChunk raw_[kFetch == Fetch::kRegisters ? kChunks : 1];
};

}  // namespace zo2::cuda
