// The inner loops of noise and prepare, on tiles that stay in the L1 cache.
//
// A tile is up to kTile consecutive canonical indices that begin at a multiple of kGrain; its length `n` is a multiple
// of kGrain as well, so that no kernel has a tail: the caller pads. Two sets of kernels exist, generic and AVX2, with
// the same bits.
#pragma once

#include <stdint.h>

#include "contract/zo2.h"
#include "numerics/blocks.h"
#include "numerics/philox.h"

namespace zo2::cpu {

constexpr uint32_t kGrain = 128;  // elements that one Rademacher counter serves: tiles begin and end on whole counters
constexpr uint32_t kTile = 512;   // 2 KiB per fp32 array: weights, update and noise of a tile fill a quarter of L1

// How the result of an update becomes a wire value. `words` is used when `stochastic`: one per element.
struct TileRounding {
  zo2_dtype dtype;
  bool stochastic;
  const uint32_t* words;
};

// How the result of an update becomes a block. `words` is used when `stochastic`: one per element.
struct BlockRounding {
  zo2_dtype dtype;  // I8, E4M3
  bool stochastic;
  const uint32_t* words;
};

// Where a tile's weights go once they are perturbed.
struct TileSide {
  void* to;
  float eps;
};

// Arrays of n elements need no alignment.
struct TileKernels {
  const char* name;
  // z of elements `first` .. `first + n - 1` (first a multiple of kGrain).
  void (*gaussian)(const numerics::NoiseStream& stream, uint64_t first, uint32_t n, float* z);
  void (*rademacher)(const numerics::NoiseStream& stream, uint64_t first, uint32_t n, float* z);
  // The random words of stochastic rounding, one per element.
  void (*rounding_words)(const numerics::NoiseStream& stream, uint64_t first, uint32_t n, uint32_t* words);
  // Wire or scratch dtype to fp32 and back, to nearest even.
  void (*widen)(zo2_dtype dtype, const void* from, uint32_t n, float* to);
  void (*narrow)(zo2_dtype dtype, const float* from, uint32_t n, void* to);
  // u = b w; u = fma(a, z, u); w = round(w - u) where that is finite, elsewhere w stays. False when an element of
  // [begin, end) stayed.
  void (*update_begin)(float b, const float* w, uint32_t n, float* u);
  void (*update_add)(float a, const float* z, uint32_t n, float* u);
  bool (*update_end)(const TileRounding& rounding, const float* u, uint32_t n, uint32_t begin, uint32_t end, float* w);
  // The three for one direction, without writing u.
  bool (*update_once)(const TileRounding& rounding, float a, float b, const float* z, uint32_t n, uint32_t begin,
                      uint32_t end, float* w);
  // The values of a block of numerics::kBlock elements. `dtype`: I8, E4M3.
  void (*widen_block)(zo2_dtype dtype, const uint8_t* q, uint8_t scale, float* w);
  // w = w - u where that fits, elsewhere w stays; then the block is scaled and rounded: w becomes its values, q and
  // scale its bytes. False when an element stayed. A block with fewer elements is filled up with w = u = 0.
  bool (*replace_block)(const BlockRounding& rounding, const float* u, float* w, uint8_t* q, uint8_t* scale);
  // Every side becomes fma(eps, z, w), rounded once to `dtype`. One or two sides.
  void (*perturb)(zo2_dtype dtype, const TileSide* sides, uint32_t side_count, const float* z, const float* w,
                  uint32_t n);
};

const TileKernels& generic_tile_kernels();

// Null where this build has none (not x86-64, or a compiler without the flags). The caller checks the CPU first:
// tile_kernels().
const TileKernels* avx2_tile_kernels();

// The fastest kernels this CPU runs, or the generic ones when `generic` is set.
const TileKernels& tile_kernels(bool generic);

}  // namespace zo2::cpu
