#include "cpu/ops/noise.h"

#include <string.h>

#include "cpu/runtime/cpu_features.h"

namespace zo2::cpu {

const TileKernels& tile_kernels(bool generic) {
  static const TileKernels* const fastest =
      has_avx2_fma_f16c() && avx2_tile_kernels() != nullptr ? avx2_tile_kernels() : &generic_tile_kernels();
  return generic ? generic_tile_kernels() : *fastest;
}

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
