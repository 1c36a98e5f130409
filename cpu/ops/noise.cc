#include "cpu/ops/noise.h"

#include <string.h>

#include <algorithm>

#include "cpu/runtime/cpu_features.h"
#include "numerics/low_rank.h"

namespace zo2::cpu {

const TileKernels& tile_kernels(bool generic) {
  static const TileKernels* const fastest =
      has_avx2_fma_f16c() && avx2_tile_kernels() != nullptr ? avx2_tile_kernels() : &generic_tile_kernels();
  return generic ? generic_tile_kernels() : *fastest;
}

namespace {

// z = fma(u, v, z) for any number of elements.
void add_scaled(const TileKernels& kernels, float u, const float* v, uint32_t n, float* z) {
  const uint32_t whole = n / kGrain * kGrain, rest = n - whole;
  if (whole != 0) kernels.update_add(u, v, whole, z);
  if (rest == 0) return;
  float last_v[kGrain] = {}, last_z[kGrain] = {};
  memcpy(last_v, v + whole, rest * sizeof(float));
  memcpy(last_z, z + whole, rest * sizeof(float));
  kernels.update_add(u, last_v, kGrain, last_z);
  memcpy(z + whole, last_z, rest * sizeof(float));
}

// Noise of the elements begin .. end - 1 of a matrix, from canonical index `first` + begin on.
void fill_low_rank(const TileKernels& kernels, const NoiseSource& source, uint64_t first, uint32_t begin, uint32_t end,
                   float* z) {
  const auto stream = [&source](numerics::Purpose purpose, uint32_t step) {
    return numerics::noise_stream(source.seed, step, purpose, source.direction);
  };
  const numerics::NoiseStream rows = stream(numerics::kPurposeRowFactor, source.step);
  const numerics::NoiseStream columns = stream(numerics::kPurposeColumnFactor, source.column_step);
  const auto [origin, width] = source.matrix;
  float v[kTile + 2 * kGrain];
  for (uint32_t k = 0; k < source.rank; ++k) {
    // v holds the factors of the columns `from` .. `to` - 1, the first of them at `skew`.
    uint64_t from = 0, to = 0;
    uint32_t skew = 0;
    for (uint32_t i = begin; i < end;) {
      const uint64_t element = first + i - origin, row = element / width, column = element % width;
      const uint32_t n = static_cast<uint32_t>(std::min<uint64_t>(end - i, width - column));
      if (column < from || column + n > to) {
        from = column;
        to = std::min<uint64_t>(width, column + kTile);
        const uint64_t start = (origin + from) / kGrain * kGrain;
        skew = static_cast<uint32_t>(origin + from - start);
        const uint32_t drawn = (static_cast<uint32_t>(to - from) + skew + kGrain - 1) / kGrain * kGrain;
        for (uint32_t part = 0; part < drawn; part += kTile)
          kernels.gaussian(columns, numerics::factor_index(start + part, k), std::min(kTile, drawn - part), v + part);
      }
      const float u = numerics::gaussian_at(rows, numerics::factor_index(origin + row * width, k));
      const float* const here = v + skew + (column - from);
      add_scaled(kernels, u, here, n, z + i);
      i += n;
    }
  }
}

}  // namespace

void fill_noise_tile(const TileKernels& kernels, const NoiseSource& source, uint64_t first, uint32_t n, uint32_t begin,
                     uint32_t end, float* z) {
  switch (source.kind) {
    case ZO2_NOISE_GAUSSIAN:
      kernels.gaussian(numerics::noise_stream(source.seed, source.step, numerics::kPurposeGaussian, source.direction),
                       first, n, z);
      break;
    case ZO2_NOISE_RADEMACHER:
      kernels.rademacher(
          numerics::noise_stream(source.seed, source.step, numerics::kPurposeRademacher, source.direction), first, n,
          z);
      break;
    case ZO2_NOISE_LOW_RANK:
      if (source.matrix.width == 0) {
        NoiseSource vector = source;
        vector.kind = ZO2_NOISE_GAUSSIAN;
        return fill_noise_tile(kernels, vector, first, n, begin, end, z);
      }
      memset(z, 0, n * sizeof(float));
      fill_low_rank(kernels, source, first, begin, end, z);
      break;
    case ZO2_NOISE_BUFFER:
      memset(z, 0, begin * sizeof(float));
      memcpy(z + begin, source.z + first + begin, (end - begin) * sizeof(float));
      memset(z + end, 0, (n - end) * sizeof(float));
      break;
  }
}

void fill_noise(float* out, uint64_t first, uint64_t count, zo2_noise_kind kind, uint64_t seed, uint32_t step,
                uint32_t direction, bool generic) {
  if (kind != ZO2_NOISE_GAUSSIAN && kind != ZO2_NOISE_RADEMACHER) return;
  const TileKernels& kernels = tile_kernels(generic);
  const NoiseSource source = {kind, seed, step, direction, nullptr};
  float z[kTile];
  uint64_t done = 0;
  while (done < count) {
    const uint64_t at = first + done, start = at / kGrain * kGrain;
    const uint32_t begin = static_cast<uint32_t>(at - start);
    if (begin == 0 && count - done >= kTile) {
      fill_noise_tile(kernels, source, start, kTile, 0, kTile, out + done);
      done += kTile;
      continue;
    }
    const uint64_t left = count - done + begin;
    const uint32_t end = left < kTile ? static_cast<uint32_t>(left) : kTile;
    fill_noise_tile(kernels, source, start, (end + kGrain - 1) / kGrain * kGrain, begin, end, z);
    memcpy(out + done, z + begin, (end - begin) * sizeof(float));
    done += end - begin;
  }
}

}  // namespace zo2::cpu
