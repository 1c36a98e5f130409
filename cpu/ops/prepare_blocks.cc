#include "cpu/ops/prepare_blocks.h"

#include <string.h>

#include "contract/dtype.h"
#include "cpu/ops/prepare_tile.h"
#include "numerics/blocks.h"

namespace zo2::cpu {
namespace {

using numerics::kBlock;

// The blocks of a tile, which begins anywhere in a row. A row has at least one, so that a tile has at most one for each
// element.
struct TileBlocks {
  uint32_t count = 0;
  uint32_t begin[kTile];  // in the tile
  uint32_t size[kTile];
};

// From element `first` of a segment whose rows have `width` on, as many of its next `left` as fit.
void take_blocks(uint64_t first, uint64_t width, uint64_t left, Tile* tile, TileBlocks* blocks) {
  uint64_t column = first % width, end = tile->begin;
  while (left > 0) {
    const uint64_t rest = width - column, size = rest < kBlock ? rest : kBlock;
    if (end + size > kTile) break;
    blocks->begin[blocks->count] = static_cast<uint32_t>(end);
    blocks->size[blocks->count++] = static_cast<uint32_t>(size);
    end += size;
    left -= size;
    column = size == rest ? 0 : column + size;
  }
  tile->end = static_cast<uint32_t>(end);
  tile->n = (tile->end + kGrain - 1) / kGrain * kGrain;
}

struct BlockTile {
  alignas(64) float w[kTile];
  alignas(64) uint8_t q[kTile];
  uint8_t scales[kTile];
};

void widen(const TileKernels& kernels, zo2_dtype dtype, const TileBlocks& blocks, BlockTile* tile) {
  for (uint32_t b = 0; b < blocks.count; ++b) {
    const uint32_t begin = blocks.begin[b], size = blocks.size[b];
    if (size == kBlock) {
      kernels.widen_block(dtype, tile->q + begin, tile->scales[b], tile->w + begin);
      continue;
    }
    uint8_t q[kBlock] = {};
    float w[kBlock];
    memcpy(q, tile->q + begin, size);
    kernels.widen_block(dtype, q, tile->scales[b], w);
    memcpy(tile->w + begin, w, size * sizeof(float));
  }
}

// False when an element of a block stayed.
bool replace(const TileKernels& kernels, const BlockRounding& rounding, const TileBlocks& blocks, const float* u,
             BlockTile* tile) {
  bool fits = true;
  for (uint32_t b = 0; b < blocks.count; ++b) {
    const uint32_t begin = blocks.begin[b], size = blocks.size[b];
    if (size == kBlock) {
      const BlockRounding here = {rounding.dtype, rounding.stochastic, rounding.words + begin};
      fits &= kernels.replace_block(here, u + begin, tile->w + begin, tile->q + begin, tile->scales + b);
      continue;
    }
    float w[kBlock] = {}, change[kBlock] = {};
    uint32_t words[kBlock] = {};
    uint8_t q[kBlock];
    memcpy(w, tile->w + begin, size * sizeof(float));
    memcpy(change, u + begin, size * sizeof(float));
    if (rounding.stochastic) memcpy(words, rounding.words + begin, size * sizeof(uint32_t));
    fits &= kernels.replace_block({rounding.dtype, rounding.stochastic, words}, change, w, q, tile->scales + b);
    memcpy(tile->w + begin, w, size * sizeof(float));
    memcpy(tile->q + begin, q, size);
  }
  return fits;
}

void apply_update(const PrepareJob& job, uint32_t index, const Piece& piece, const Tile& place,
                  const TileBlocks& blocks, BlockTile* tile, PrepareTally* flags) {
  const TileKernels& kernels = job.kernels;
  const ResolvedUpdate& resolved = job.updates[index];
  const contract::PendingUpdate& update = resolved.pending;
  alignas(64) float z[kTile];
  alignas(64) float u[kTile];
  alignas(64) uint32_t words[kTile];
  const bool stochastic = job.command.rounding == ZO2_ROUND_STOCHASTIC;
  if (stochastic) {
    kernels.rounding_words(numerics::noise_stream(update.seed, update.step, numerics::kPurposeRounding, 0), place.first,
                           place.n, words);
  }
  kernels.update_begin(piece.decay ? resolved.b : 0.0f, tile->w, place.n, u);
  for (uint32_t d = 0; d < update.directions; ++d) {
    fill_noise_tile(kernels, update_noise(update, d, piece.matrix), place.first, place.n, place.begin, place.end, z);
    kernels.update_add(resolved.a[d], z, place.n, u);
  }
  if (!replace(kernels, {piece.wire_dtype, stochastic, words}, blocks, u, tile))
    merge_tallies(flags, {ZO2_STICKY_OVERFLOW, index});
}

}  // namespace

void prepare_blocks(const PrepareJob& job, const zo2_segment& segment, uint64_t element, uint64_t canonical,
                    uint64_t count, PrepareTally* flags) {
  const Piece piece = piece_at(job.command, segment, element, canonical, count);
  const uint64_t width = segment.row_width;
  unsigned char* scales = job.command.wire + segment.scale_offset + element / width * contract::blocks_of_row(width) +
                          element % width / kBlock;
  const uint32_t update_count = piece.frozen ? 0 : static_cast<uint32_t>(job.updates.size());
  BlockTile tile;
  for (uint64_t done = 0; done < count;) {
    Tile place;
    place.first = (canonical + done) / kGrain * kGrain;
    place.begin = static_cast<uint32_t>(canonical + done - place.first);
    TileBlocks blocks;
    take_blocks(element + done, width, count - done, &place, &blocks);
    const uint32_t taken = place.end - place.begin;
    unsigned char* const wire = piece.wire + done;

    // The elements that do not exist are computed along.
    memset(tile.w, 0, place.begin * sizeof(float));
    memset(tile.w + place.end, 0, (place.n - place.end) * sizeof(float));
    memcpy(tile.q + place.begin, wire, taken);
    memcpy(tile.scales, scales, blocks.count);
    widen(job.kernels, piece.wire_dtype, blocks, &tile);
    for (uint32_t index = 0; index < update_count; ++index)
      apply_update(job, index, piece, place, blocks, &tile, flags);
    if (update_count > 0 && job.command.store) {
      memcpy(wire, tile.q + place.begin, taken);
      memcpy(scales, tile.scales, blocks.count);
    }
    if (job.command.side_count != 0) write_sides(job, piece, place, done, tile.w);
    scales += blocks.count;
    done += taken;
  }
}

}  // namespace zo2::cpu
