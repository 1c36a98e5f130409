// Philox4x32-10 and the generators built on it are those of their definitions.
#include "numerics/philox.h"

#include <vector>

#include "cpu/ops/noise.h"
#include "cpu/ops/tile.h"
#include "test/native/cpp/check.h"

using namespace zo2;

// The known answers that the Random123 distribution publishes for philox4x32-10.
static void known_answers() {
  const uint32_t cases[3][10] = {
      {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
       0x24126ea1},
  };
  for (const auto& c : cases) {
    const numerics::PhiloxWords words = numerics::philox(c[0], c[1], c[2], c[3], c[4], c[5]);
    for (int k = 0; k < 4; ++k)
      CHECK(words.x[k] == c[6 + k], "word %d is %08x, expected %08x", k, words.x[k], c[6 + k]);
  }
}

// Tile kernels take their words from the same positions, also where the position crosses 2^32 inside a tile.
static void words_of_tiles(const cpu::TileKernels& kernels) {
  const numerics::NoiseStream stream =
      numerics::noise_stream(0x0123456789abcdefull, 0xfffffff0u, numerics::kPurposeRounding, 0);
  for (const uint64_t first : {uint64_t{0}, (uint64_t{1} << 34) - 256, (uint64_t{1} << 63) + 128, UINT64_MAX - 511}) {
    for (uint32_t n = cpu::kGrain; n <= cpu::kTile; n += cpu::kGrain) {
      std::vector<uint32_t> words(cpu::kTile + 1, 0xdeadbeefu);
      kernels.rounding_words(stream, first, n, words.data());
      bool equal = true;
      for (uint32_t i = 0; i < n; ++i) {
        const uint64_t index = first + i;
        equal &= words[i] == numerics::philox_at(stream, index >> 2).x[index & 3];
      }
      CHECK(equal, "%s kernels, first %llu, n %u", kernels.name, static_cast<unsigned long long>(first), n);
      CHECK(words[n] == 0xdeadbeefu, "%s kernels wrote past element %u", kernels.name, n);
    }
  }
}

int main() {
  known_answers();
  words_of_tiles(cpu::generic_tile_kernels());
  words_of_tiles(cpu::tile_kernels(false));
  printf("kernels: %s\n", cpu::tile_kernels(false).name);
  return test::report();
}
