// How the attention kernels share the work: one block has one head of a tile of query rows of one sequence.
//
// The lengths of the sequences lie in device memory, so the host launches as many blocks as there can be tiles at most,
// and each block finds its own. Tiles are numbered from the end of the sequences: those with the most keys start first,
// and none is left for the end.
#pragma once

#include <algorithm>

#include "cuda/ops/attention.cuh"

namespace zo2::cuda::attention {

// Rows and positions fit 31 bits with room to spare: attention_unsupported refuses more than kMostAttentionRows rows.
struct QueryTile {
  int start, length, prefix_start, prefix_length, key_start;  // of the sequence
  int first;                                                  // first row of the tile, counted from `start`
};

// Positions of the keys that some row of the tile sees: begin .. end.
struct KeyRange {
  int begin, end;

  __device__ KeyRange(const QueryTile& tile, int tile_rows, int window) {
    const int first_position = tile.prefix_length + tile.first, rows = tile.length - tile.first;
    end = first_position + (rows < tile_rows ? rows : tile_rows);
    begin = first_position < window ? 0 : first_position - window + 1;
  }
};

// Keys of a tile: the positions first .. first + count of a sequence, by rows of k and v.
struct KeyTile {
  int count;
  int prefix;               // so many of them lie in the prefix, or more than the tile holds
  int prefix_row, own_row;  // row of key i: prefix_row + i when i < prefix, own_row + i otherwise

  __device__ KeyTile(const QueryTile& tile, int first, int end)
      : count(end - first),
        prefix(tile.prefix_length - first),
        prefix_row(tile.prefix_start + first),
        own_row(tile.key_start + first - tile.prefix_length) {}

  // -1 for keys that are not there.
  __device__ int row(int i) const { return i >= count ? -1 : (i < prefix ? prefix_row : own_row) + i; }
};

// The window as a number of keys, at least as many as there are positions for none.
inline int window_of(const AttentionArgs& args) {
  const int64_t everything = 2 * kMostAttentionRows;
  return static_cast<int>(args.window > 0 && args.window < everything ? args.window : everything);
}

__device__ inline int warp_total(int x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

__device__ inline int warp_largest(int x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const int other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = x < other ? other : x;
  }
  return x;
}

__device__ inline int tiles_of(const Matrix& sequences, int64_t s, int tile_rows) {
  return s < sequences.rows
             ? (reinterpret_cast<const int32_t*>(element_address(sequences, s, 0))[1] + tile_rows - 1) / tile_rows
             : 0;
}

// Tiles at `level` or above: the level of a tile is its place in its sequence, from 0.
__device__ inline int tiles_from(const Matrix& sequences, int level, int tile_rows) {
  int count = 0;
  for (int64_t s = threadIdx.x % 32; s < sequences.rows; s += 32) {
    const int tiles = tiles_of(sequences, s, tile_rows);
    count += tiles > level ? tiles - level : 0;
  }
  return warp_total(count);
}

// The tile of this rank, by level from the highest down and by sequence within a level; false when there are not so
// many. All lanes of a warp call it together and get the same answer; warps need no barrier among them.
__device__ inline bool find_query_tile(const Matrix& sequences, int64_t rank, int tile_rows, QueryTile& tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int high = 0;
  for (int64_t s = lane; s < sequences.rows; s += 32) {
    const int tiles = tiles_of(sequences, s, tile_rows);
    high = high < tiles ? tiles : high;
  }
  high = warp_largest(high);
  int low = 0, above = 0;  // `above`: tiles_from(high)
  if (tiles_from(sequences, low, tile_rows) <= rank) return false;
  while (high - low > 1) {
    const int middle = low + (high - low) / 2, count = tiles_from(sequences, middle, tile_rows);
    if (count > rank) {
      low = middle;
    } else {
      high = middle;
      above = count;
    }
  }
  int left = static_cast<int>(rank) - above;  // so many sequences of this level come first
  int64_t sequence = 0;
  for (bool found = false; !found;) {
    const uint32_t there = __ballot_sync(0xffffffffu, tiles_of(sequences, sequence + lane, tile_rows) > low);
    for (int i = 0; i < 32 && !found; i++) {
      if ((there >> i & 1u) == 0) continue;
      if (left == 0) {
        found = true;
        sequence += i;
      }
      left--;
    }
    if (!found) sequence += 32;
  }
  const int32_t* s = reinterpret_cast<const int32_t*>(element_address(sequences, sequence, 0));
  tile = {s[0], s[1], s[2], s[3], sequences.cols == 5 ? s[4] : s[0], low * tile_rows};
  return true;
}

// Blocks for a launch: block b has head b % heads of the tile of rank b / heads, so that heads that share keys run
// together.
inline dim3 grid_of(const AttentionArgs& args, int tile_rows) {
  return dim3(static_cast<unsigned>((args.q.rows / tile_rows + args.sequences.rows) * args.heads));
}

}  // namespace zo2::cuda::attention
