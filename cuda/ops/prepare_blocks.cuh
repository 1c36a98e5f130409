// Blocks of 8-bit weights in a prepare (contract/zo2.h, zo2_segment): eight threads of a warp that follow each other
// have one block, each an octet of it. They stay together, and find the largest weight by shuffles.
#pragma once

#include "contract/zo2.h"
#include "cuda/kernel.h"
#include "cuda/ops/prepare_group.cuh"
#include "cuda/ops/prepare_noise.cuh"
#include "numerics/blocks.h"
#include "numerics/update.h"

namespace zo2::cuda::groups {

// An octet of a block. Its canonical index is a multiple of eight only where rows are; `begin` is 0, and `end` is 0
// where a short block has no such octet.
struct BlockOctet {
  Group group;
  bool exists;     // the block
  uint64_t place;  // of the block's scale
};

// Octet number `index` of a segment in blocks.
__device__ inline BlockOctet block_octet(const zo2_segment& s, const int32_t* rows, uint64_t row_count,
                                         uint64_t index) {
  const uint64_t block = index / kBlockOctets, per_row = scales_of_row(s), row = block / per_row;
  BlockOctet octet{};
  if (row >= rows_in_blocks(s, row_count)) return octet;
  const uint64_t column = (block - row * per_row) * numerics::kBlock + index % kBlockOctets * kGroup;
  const uint64_t start = is_gathered(s) ? static_cast<uint64_t>(rows[row]) : row;
  const int64_t left = static_cast<int64_t>(s.row_width) - static_cast<int64_t>(column);
  octet.exists = true;
  octet.place = block;
  octet.group.canonical = s.canonical + start * s.row_width + column;
  octet.group.element = static_cast<int64_t>(row * s.row_width + column);
  octet.group.end = static_cast<int>(left < 0 ? 0 : left < kGroup ? left : kGroup);
  return octet;
}

// The lanes of this thread's block, and whether it is the first of them.
__device__ inline uint32_t block_lanes() { return 0xffu << (threadIdx.x & 24u); }
__device__ inline bool leads_block() { return threadIdx.x % kBlockOctets == 0; }

__device__ inline bool is_byte_vector(const Group& group, const unsigned char* first) {
  return group.whole() && reinterpret_cast<uintptr_t>(first) % 8 == 0;
}

template <class Format>
__device__ inline void load_blocks(const unsigned char* base, const unsigned char* scales, const BlockOctet& octet,
                                   float (&w)[kGroup]) {
  const unsigned char* const from = base + octet.group.element;
  // One thread reads the scale, and the same one writes it.
  uint32_t scale = leads_block() ? scales[octet.place] : 0;
  scale = __shfl_sync(block_lanes(), scale, static_cast<int>(threadIdx.x & 24u));
  uint2 bytes = make_uint2(0, 0);
  if (is_byte_vector(octet.group, from)) {
    bytes = *reinterpret_cast<const uint2*>(from);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (octet.group.has(i)) (i < 4 ? bytes.x : bytes.y) |= static_cast<uint32_t>(from[i]) << (i % 4 * 8);
    }
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i)
    w[i] = Format::value(static_cast<uint8_t>((i < 4 ? bytes.x : bytes.y) >> (i % 4 * 8)), scale);
}

// What a block is stored as.
struct BlockBytes {
  uint2 q;
  uint32_t scale;
};

__device__ inline void store_blocks(unsigned char* base, unsigned char* scales, const BlockOctet& octet,
                                    const BlockBytes& bytes) {
  unsigned char* const to = base + octet.group.element;
  if (leads_block()) scales[octet.place] = static_cast<unsigned char>(bytes.scale);
  if (is_byte_vector(octet.group, to)) {
    *reinterpret_cast<uint2*>(to) = bytes.q;
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    if (octet.group.has(i)) to[i] = static_cast<unsigned char>((i < 4 ? bytes.q.x : bytes.q.y) >> (i % 4 * 8));
  }
}

// noise_group for an octet whose canonical index is any: of one group, or the parts of two that it lies across.
__device__ inline void noise_octet(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction,
                                   const float* table, const Group& group, float (&z)[kGroup]) {
  const int skew = kind == ZO2_NOISE_BUFFER ? 0 : static_cast<int>(group.canonical % kGroup);
  Group part = group;
  part.canonical -= static_cast<uint64_t>(skew);
#pragma unroll 1
  for (int begin = -skew; begin < kGroup; begin += kGroup, part.canonical += kGroup) {
    float drawn[kGroup];
    noise_group(kind, seed, step, direction, table, part, drawn);
    // Number `from` of those drawn is number begin + from of the octet.
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (skew == 0) z[i] = drawn[i];
    }
    if (skew == 0) return;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
#pragma unroll
      for (int from = 0; from < kGroup; ++from) {
        if (begin + from == i) z[i] = drawn[from];
      }
    }
  }
}

__device__ inline void rounding_octet(uint64_t seed, uint32_t step, const Group& group, uint32_t (&words)[kGroup]) {
  const numerics::NoiseStream stream = numerics::noise_stream(seed, step, numerics::kPurposeRounding, 0);
  if (group.canonical % 4 == 0) {
    const numerics::PhiloxWords low = numerics::philox_at(stream, group.canonical >> 2);
    const numerics::PhiloxWords high = numerics::philox_at(stream, (group.canonical >> 2) + 1);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) words[i] = i < 4 ? low.x[i] : high.x[i - 4];
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const uint64_t canonical = group.canonical + static_cast<uint64_t>(i);
    words[i] = noise::word_of(numerics::philox_at(stream, canonical >> 2), static_cast<uint32_t>(canonical) & 3u);
  }
}

// w = w - u where that fits, elsewhere w stays; then the block is scaled and rounded, by the seed and step of the
// update. False when an element that exists stayed.
template <class Format>
__device__ inline bool replace_blocks(bool stochastic, uint64_t seed, uint32_t step, const BlockOctet& octet,
                                      const float (&u)[kGroup], float (&w)[kGroup], BlockBytes& bytes) {
  bool fits = true;
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const float next = numerics::update_end(w[i], u[i]);
    const bool taken = numerics::fits_block<Format>(next);
    fits = fits && (taken || !octet.group.has(i));
    w[i] = !octet.group.has(i) ? 0.0f : taken ? next : w[i];
    const uint32_t magnitude = __float_as_uint(w[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
#pragma unroll
  for (int distance = kBlockOctets / 2; distance > 0; distance /= 2) {
    const uint32_t other = __shfl_xor_sync(block_lanes(), largest, distance);
    largest = other > largest ? other : largest;
  }
  bytes.scale = numerics::block_scale<Format>(__uint_as_float(largest));
  bytes.q = make_uint2(0, 0);
  uint32_t words[kGroup] = {};
  if (stochastic) rounding_octet(seed, step, octet.group, words);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const uint32_t q = numerics::quantise<Format>(stochastic, bytes.scale, words[i], w[i]);
    (i < 4 ? bytes.q.x : bytes.q.y) |= q << (i % 4 * 8);
  }
  return fits;
}

}  // namespace zo2::cuda::groups
