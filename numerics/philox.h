// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and how zo2 uses
// its counter.
//
// Every random number of zo2 is a function of its coordinates:
//   key     = (seed low, seed high)
//   counter = (q low, q high, step, purpose << 24 | direction)
// where q is derived from the canonical index of the element; how depends on the purpose (gaussian.h, rademacher.h,
// rounding.h, low_rank.h).
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxKeyStep0 = 0x9E3779B9u;
constexpr uint32_t kPhiloxKeyStep1 = 0xBB67AE85u;

enum Purpose : uint32_t {
  kPurposeGaussian = 0,
  kPurposeRademacher = 1,
  kPurposeRounding = 2,
  // 3: what an adapter begins with (src/adapters/values.ts)
  kPurposeRowFactor = 4,
  kPurposeColumnFactor = 5,
};

struct PhiloxWords {
  uint32_t x[4];
};

// Which stream of numbers: all but the position in it. direction < 2^24.
struct NoiseStream {
  uint64_t seed;
  uint32_t step;
  uint32_t tag;  // purpose << 24 | direction
};

ZO2_HD static inline NoiseStream noise_stream(uint64_t seed, uint32_t step, Purpose purpose, uint32_t direction) {
  NoiseStream stream;
  stream.seed = seed;
  stream.step = step;
  stream.tag = static_cast<uint32_t>(purpose) << 24 | (direction & 0xffffffu);
  return stream;
}

ZO2_HD static inline uint32_t philox_high(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __umulhi(a, b);
#else
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
#endif
}

ZO2_HD static inline PhiloxWords philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint32_t high0 = philox_high(kPhiloxMultiplier0, c0), low0 = kPhiloxMultiplier0 * c0;
    const uint32_t high1 = philox_high(kPhiloxMultiplier1, c2), low1 = kPhiloxMultiplier1 * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += kPhiloxKeyStep0;
    k1 += kPhiloxKeyStep1;
  }
  PhiloxWords words;
  words.x[0] = c0;
  words.x[1] = c1;
  words.x[2] = c2;
  words.x[3] = c3;
  return words;
}

// The four words at position q of a stream.
ZO2_HD static inline PhiloxWords philox_at(const NoiseStream& stream, uint64_t q) {
  return philox(static_cast<uint32_t>(q), static_cast<uint32_t>(q >> 32), stream.step, stream.tag,
                static_cast<uint32_t>(stream.seed), static_cast<uint32_t>(stream.seed >> 32));
}

}  // namespace zo2::numerics
