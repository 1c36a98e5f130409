// Noise is a pure function of its coordinates: every split, offset and set of kernels gives the bits of the definition.
#include "cpu/ops/noise.h"

#include <string.h>

#include <vector>

#include "numerics/gaussian.h"
#include "numerics/rademacher.h"
#include "test/native/cpp/check.h"

using namespace zo2;

static float by_definition(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction, uint64_t index) {
  if (kind == ZO2_NOISE_GAUSSIAN) {
    float z[4];
    numerics::gaussian_quad(numerics::noise_stream(seed, step, numerics::kPurposeGaussian, direction), index >> 2, z);
    return z[index & 3];
  }
  const numerics::PhiloxWords words =
      numerics::philox_at(numerics::noise_stream(seed, step, numerics::kPurposeRademacher, direction), index >> 7);
  return (words.x[(index >> 5) & 3] >> (index & 31) & 1) != 0 ? -1.0f : 1.0f;
}

static void every_range(zo2_noise_kind kind, bool generic) {
  const uint64_t firsts[] = {
      0, 1, 127, 130, 511, (uint64_t{1} << 32) - 300, (uint64_t{1} << 34) - 1, (uint64_t{1} << 39) - 77};
  const uint64_t counts[] = {0, 1, 3, 127, 128, 129, 511, 512, 513, 1000, 2049};
  for (const uint64_t first : firsts) {
    for (const uint64_t count : counts) {
      const float sentinel = 1234.5f;
      std::vector<float> z(count + 2, sentinel);
      cpu::fill_noise(z.data() + 1, first, count, kind, 0x8000000000000003ull, 9, 5, generic);
      bool equal = true;
      for (uint64_t i = 0; i < count; ++i) {
        const float expected = by_definition(kind, 0x8000000000000003ull, 9, 5, first + i);
        equal &= memcmp(&z[i + 1], &expected, sizeof expected) == 0;
      }
      CHECK(equal, "kind %d, first %llu, count %llu, generic %d", kind, static_cast<unsigned long long>(first),
            static_cast<unsigned long long>(count), generic);
      CHECK(z.front() == sentinel && z.back() == sentinel, "written outside of %llu elements",
            static_cast<unsigned long long>(count));
    }
  }
}

static void coordinates_matter(zo2_noise_kind kind) {
  float base[256], other[256];
  cpu::fill_noise(base, 0, 256, kind, 0, 0, 0);
  const struct {
    uint64_t seed;
    uint32_t step, direction;
    const char* what;
  } cases[] = {
      {1, 0, 0, "seed"}, {uint64_t{1} << 32, 0, 0, "high word of the seed"}, {0, 1, 0, "step"}, {0, 0, 1, "direction"}};
  for (const auto& c : cases) {
    cpu::fill_noise(other, 0, 256, kind, c.seed, c.step, c.direction);
    CHECK(memcmp(base, other, sizeof base) != 0, "the %s does not matter", c.what);
  }
}

static void buffer_noise_is_read_at_the_canonical_index() {
  std::vector<float> table(1024);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i) + 0.5f;
  float z[cpu::kTile];
  cpu::fill_noise_tile(cpu::tile_kernels(false), {ZO2_NOISE_BUFFER, 0, 0, 0, table.data()}, 256, 256, 3, 200, z);
  bool equal = true;
  for (uint32_t i = 0; i < 256; ++i) equal &= z[i] == (i >= 3 && i < 200 ? table[256 + i] : 0.0f);
  CHECK(equal);
}

int main() {
  for (const zo2_noise_kind kind : {ZO2_NOISE_GAUSSIAN, ZO2_NOISE_RADEMACHER}) {
    every_range(kind, true);
    every_range(kind, false);
    coordinates_matter(kind);
  }
  buffer_noise_is_read_at_the_canonical_index();
  return test::report();
}
