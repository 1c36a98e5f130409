#include "cpu/ops/prepare_tile.h"

#include "contract/dtype.h"
#include "cpu/ops/tile_output.h"

namespace zo2::cpu {

using contract::dtype_bytes;

Piece piece_at(const contract::PreparePass& pass, const zo2_segment& segment, uint64_t element, uint64_t canonical,
               uint64_t count) {
  Piece piece;
  piece.canonical = canonical;
  piece.count = count;
  piece.wire_dtype = static_cast<zo2_dtype>(segment.wire_dtype);
  piece.scratch_dtype = static_cast<zo2_dtype>(segment.scratch_dtype);
  piece.wire = pass.wire + segment.wire_offset + element * dtype_bytes(piece.wire_dtype);
  const uint64_t scratch = segment.scratch_offset + element * dtype_bytes(piece.scratch_dtype);
  for (uint32_t s = 0; s < contract::kMaxSides; ++s)
    piece.sides[s] = s < pass.side_count ? pass.sides[s].scratch + scratch : nullptr;
  piece.matrix = {segment.canonical - segment.first_row * segment.row_width, segment.row_width};
  piece.decay = (segment.flags & ZO2_SEGMENT_DECAY) != 0;
  piece.frozen = (segment.flags & ZO2_SEGMENT_FROZEN) != 0;
  return piece;
}

NoiseSource update_noise(const contract::PendingUpdate& update, uint32_t direction, const Matrix& matrix) {
  const float* table = nullptr;
  if (update.noise == ZO2_NOISE_BUFFER) {
    const unsigned char* const tables = reinterpret_cast<const unsigned char*>(update.z);
    table = reinterpret_cast<const float*>(tables + direction * update.z_stride);
  }
  return {update.noise, update.seed, update.step, direction, table, update.rank, update.column_step, matrix};
}

void write_sides(const PrepareJob& job, const Piece& piece, const Tile& tile, uint64_t offset, const float* w) {
  const contract::PreparePass& pass = job.command;
  const uint64_t at = offset * dtype_bytes(piece.scratch_dtype);
  static_assert(contract::kMaxSides == 2, "a tile is perturbed to at most two sides at once");
  TileOutput outputs[contract::kMaxSides] = {
      {tile, piece.scratch_dtype, piece.sides[0] + at},
      {tile, piece.scratch_dtype, pass.side_count < 2 ? nullptr : piece.sides[1] + at}};
  if (piece.frozen || !pass.draws) {
    for (uint32_t s = 0; s < pass.side_count; ++s)
      job.kernels.narrow(piece.scratch_dtype, w, tile.n, outputs[s].place());
  } else {
    alignas(64) float z[kTile];
    const NoiseSource source = {pass.noise, pass.seed, pass.step,        pass.direction,
                                pass.z,     pass.rank, pass.column_step, piece.matrix};
    fill_noise_tile(job.kernels, source, tile.first, tile.n, tile.begin, tile.end, z);
    const TileSide sides[contract::kMaxSides] = {{outputs[0].place(), pass.sides[0].eps},
                                                 {outputs[1].place(), pass.sides[1].eps}};
    job.kernels.perturb(piece.scratch_dtype, sides, pass.side_count, z, w, tile.n);
  }
  for (const TileOutput& output : outputs) output.put();
}

}  // namespace zo2::cpu
