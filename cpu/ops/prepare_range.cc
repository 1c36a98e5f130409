#include "cpu/ops/prepare_range.h"

#include <string.h>

#include "contract/dtype.h"
#include "cpu/ops/noise.h"
#include "cpu/ops/prepare_blocks.h"
#include "cpu/ops/prepare_tile.h"
#include "cpu/ops/tile.h"
#include "cpu/ops/tile_output.h"
#include "numerics/update.h"

namespace zo2::cpu {
namespace {

using contract::dtype_bytes;

void read_wire(const TileKernels& kernels, const Tile& tile, zo2_dtype dtype, const unsigned char* from, float* w) {
  if (tile.whole()) {
    kernels.widen(dtype, from, tile.n, w);
    return;
  }
  alignas(64) unsigned char padded[kTile * sizeof(float)];
  const uint64_t size = dtype_bytes(dtype);
  memset(padded, 0, tile.n * size);
  memcpy(padded + tile.begin * size, from, (tile.end - tile.begin) * size);
  kernels.widen(dtype, padded, tile.n, w);
}

void apply_update(const PrepareJob& job, uint32_t index, const Piece& piece, const Tile& tile, float* w,
                  PrepareTally* flags) {
  const TileKernels& kernels = job.kernels;
  const ResolvedUpdate& resolved = job.updates[index];
  const contract::PendingUpdate& update = resolved.pending;
  const float b = piece.decay ? resolved.b : 0.0f;
  alignas(64) float z[kTile];
  alignas(64) float u[kTile];
  alignas(64) uint32_t words[kTile];
  const bool stochastic = job.command.rounding == ZO2_ROUND_STOCHASTIC && piece.wire_dtype != ZO2_F32;
  if (stochastic) {
    kernels.rounding_words(numerics::noise_stream(update.seed, update.step, numerics::kPurposeRounding, 0), tile.first,
                           tile.n, words);
  }
  const TileRounding rounding = {piece.wire_dtype, stochastic, words};
  bool fits;
  if (update.directions == 1) {
    fill_noise_tile(kernels, update_noise(update, 0, piece.matrix), tile.first, tile.n, tile.begin, tile.end, z);
    fits = kernels.update_once(rounding, resolved.a[0], b, z, tile.n, tile.begin, tile.end, w);
  } else {
    kernels.update_begin(b, w, tile.n, u);
    for (uint32_t d = 0; d < update.directions; ++d) {
      fill_noise_tile(kernels, update_noise(update, d, piece.matrix), tile.first, tile.n, tile.begin, tile.end, z);
      kernels.update_add(resolved.a[d], z, tile.n, u);
    }
    fits = kernels.update_end(rounding, u, tile.n, tile.begin, tile.end, w);
  }
  if (!fits) merge_tallies(flags, {ZO2_STICKY_OVERFLOW, index});
}

void prepare_piece(const PrepareJob& job, const Piece& piece, PrepareTally* flags) {
  const TileKernels& kernels = job.kernels;
  const uint32_t update_count = piece.frozen ? 0 : static_cast<uint32_t>(job.updates.size());
  const bool updated = update_count > 0, store = job.command.store;
  const uint64_t wire_size = dtype_bytes(piece.wire_dtype);
  alignas(64) float copy[kTile];
  for (uint64_t done = 0; done < piece.count;) {
    const uint64_t at = piece.canonical + done;
    Tile tile;
    tile.first = at / kGrain * kGrain;
    tile.begin = static_cast<uint32_t>(at - tile.first);
    const uint64_t reach = tile.begin + (piece.count - done);
    tile.end = reach < kTile ? static_cast<uint32_t>(reach) : kTile;
    tile.n = (tile.end + kGrain - 1) / kGrain * kGrain;

    unsigned char* const wire = piece.wire + done * wire_size;
    // A whole fp32 tile needs no copy, unless it is updated and the wire must not see that.
    const bool in_place = piece.wire_dtype == ZO2_F32 && tile.whole() && (!updated || store);
    float* const w = in_place ? reinterpret_cast<float*>(wire) : copy;
    if (!in_place) read_wire(kernels, tile, piece.wire_dtype, wire, w);
    if (updated) {
      for (uint32_t index = 0; index < update_count; ++index) apply_update(job, index, piece, tile, w, flags);
      if (store && !in_place) {
        TileOutput out(tile, piece.wire_dtype, wire);
        kernels.narrow(piece.wire_dtype, w, tile.n, out.place());
        out.put();
      }
    }
    if (job.command.side_count != 0) write_sides(job, piece, tile, done, w);
    done += tile.end - tile.begin;
  }
}

ResolvedUpdate resolve_update(const contract::PendingUpdate& pending) {
  ResolvedUpdate resolved = {
      pending, {}, numerics::decay_coefficient(pending.learning_rate, pending.weight_decay), true};
  for (uint32_t d = 0; d < pending.directions; ++d) {
    if (!numerics::f32_is_finite(pending.coefficients[d].value)) resolved.finite = false;
  }
  for (uint32_t d = 0; d < pending.directions; ++d) {
    resolved.a[d] = numerics::update_coefficient(
        pending.learning_rate, resolved.finite ? pending.coefficients[d].value : 0.0f, pending.directions);
  }
  return resolved;
}

}  // namespace

PrepareJob::PrepareJob(const contract::PrepareCommand& command, bool generic)
    : command(command), kernels(tile_kernels(generic)) {
  updates.reserve(command.updates.size());
  for (const contract::PendingUpdate& pending : command.updates) updates.push_back(resolve_update(pending));
}

uint64_t prepare_elements(const PrepareJob& job, uint64_t segment) {
  return contract::Layout::elements(job.command.layout->segments()[segment], job.command.row_count);
}

void prepare_range(const PrepareJob& job, uint64_t segment, uint64_t begin, uint64_t end, PrepareTally* flags) {
  const zo2_segment& s = job.command.layout->segments()[segment];
  const auto prepare = [&](uint64_t element, uint64_t canonical, uint64_t count) {
    if (contract::is_blocked(s.wire_dtype)) return prepare_blocks(job, s, element, canonical, count, flags);
    prepare_piece(job, piece_at(job.command, s, element, canonical, count), flags);
  };
  if ((s.flags & ZO2_SEGMENT_GATHERED) == 0) return prepare(begin, s.canonical + begin, end - begin);
  for (uint64_t element = begin; element < end;) {
    const uint64_t row = element / s.row_width, column = element % s.row_width;
    const uint64_t count = s.row_width - column < end - element ? s.row_width - column : end - element;
    const uint64_t canonical = s.canonical + static_cast<uint64_t>(job.command.rows[row]) * s.row_width + column;
    prepare(element, canonical, count);
    element += count;
  }
}

void prepare_check_updates(const PrepareJob& job, PrepareTally* flags) {
  for (uint32_t index = 0; index < job.updates.size(); ++index) {
    if (!job.updates[index].finite) merge_tallies(flags, {ZO2_STICKY_NOT_FINITE, index});
  }
}

void merge_tallies(PrepareTally* into, const PrepareTally& from) {
  into->flags |= from.flags;
  if (from.first_update < into->first_update) into->first_update = from.first_update;
}

void raise_sticky(zo2_sticky* sticky, const PrepareJob& job, const PrepareTally& flags) {
  if (flags.flags == 0) return;
  if (sticky->flags == 0) sticky->step = job.updates[flags.first_update].pending.step;
  sticky->flags |= flags.flags;
}

}  // namespace zo2::cpu
