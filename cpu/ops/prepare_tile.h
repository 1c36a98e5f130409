// What the ways through a tile of prepare have in common: where its elements lie, its noise, its sides. Between
// prepare_range.cc and prepare_blocks.cc.
#pragma once

#include <stdint.h>

#include "cpu/ops/noise.h"
#include "cpu/ops/prepare_range.h"

namespace zo2::cpu {

// Elements whose canonical indices are consecutive, with the places of the first of them. wire_dtype and scratch_dtype
// are those of the segment.
struct Piece {
  uint64_t canonical;
  uint64_t count;
  unsigned char* wire;
  unsigned char* sides[contract::kMaxSides];
  zo2_dtype wire_dtype;
  zo2_dtype scratch_dtype;
  Matrix matrix;
  bool decay;
  bool frozen;
};

// The piece of `segment` that starts at its element `element`.
Piece piece_at(const contract::PreparePass& pass, const zo2_segment& segment, uint64_t element, uint64_t canonical,
               uint64_t count);

struct Tile {
  uint64_t first;  // canonical index of element 0, a multiple of kGrain
  uint32_t n;      // a multiple of kGrain
  uint32_t begin;  // [begin, end): the elements that exist
  uint32_t end;
  bool whole() const { return begin == 0 && end == n; }
};

NoiseSource update_noise(const contract::PendingUpdate& update, uint32_t direction, const Matrix& matrix);

// Perturbs the tile, whose element `begin` is number `offset` of the piece.
void write_sides(const PrepareJob& job, const Piece& piece, const Tile& tile, uint64_t offset, const float* w);

}  // namespace zo2::cpu
