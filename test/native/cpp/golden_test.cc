// The noise is that of the golden file (an independent script in double precision), and its bits are those of the
// pinned file.
//
//   golden_test [folder]               checks folder/golden.txt and folder/pinned.txt; default test/fixtures/noise
//   golden_test --write-pinned         prints a new pinned file. Weights trained before are then no longer reproduced
//                                      from their journals: a change of these bits is a breaking change of the package.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <string>
#include <vector>

#include "cpu/ops/noise.h"
#include "cpu/ops/prepare_range.h"
#include "numerics/gaussian.h"
#include "test/native/cpp/check.h"

using namespace zo2;

static const uint64_t kFnvStart = 0xcbf29ce484222325ull;
static uint64_t fnv1a(uint64_t hash, const void* bytes, size_t size) {
  const unsigned char* at = static_cast<const unsigned char*>(bytes);
  for (size_t i = 0; i < size; ++i) hash = (hash ^ at[i]) * 0x100000001b3ull;
  return hash;
}

static float noise_at(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction, uint64_t index,
                      bool generic) {
  float z = 0;
  cpu::fill_noise(&z, index, 1, kind, seed, step, direction, generic);
  return z;
}

static uint64_t noise_hash(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction, uint64_t first,
                           uint64_t count, bool generic) {
  std::vector<float> z(count);
  cpu::fill_noise(z.data(), first, count, kind, seed, step, direction, generic);
  return fnv1a(kFnvStart, z.data(), count * sizeof(float));
}

// Hash of the wire, W+ and W- after two pending updates (of one and of two directions) on weights of a fixed formula.
static uint64_t prepare_hash(uint32_t wire, uint32_t scratch, zo2_rounding rounding, zo2_noise_kind noise,
                             bool generic) {
  const uint64_t count = 3000;
  const uint64_t padded = (count + cpu::kGrain - 1) / cpu::kGrain * cpu::kGrain;
  std::vector<float> weights(padded);
  for (uint64_t i = 0; i < count; ++i)
    weights[i] = 0x1p-14f * static_cast<float>(static_cast<int>(i * 2654435761u % 1999u) - 999);
  std::vector<unsigned char> bytes(padded * 4), plus(padded * 4), minus(padded * 4);
  cpu::tile_kernels(true).narrow(static_cast<zo2_dtype>(wire), weights.data(), static_cast<uint32_t>(padded),
                                 bytes.data());
  zo2_segment segment = {};
  segment.canonical = (uint64_t{1} << 34) - 1024;
  segment.count = count;
  segment.wire_dtype = wire;
  segment.scratch_dtype = scratch;
  segment.flags = ZO2_SEGMENT_DECAY;
  const zo2_coefficient coefficients[3] = {{0.75f, 1}, {-2.5f, 1}, {1.0f / 3.0f, 1}};
  const contract::Layout layout(nullptr, &segment, 1);
  contract::PrepareCommand command = {};
  command.layout = &layout;
  command.wire = bytes.data();
  command.sides[0] = {plus.data(), 1e-3f};
  command.sides[1] = {minus.data(), -1e-3f};
  command.side_count = 2;
  command.draws = true;
  command.noise = noise;
  command.seed = uint64_t{1} << 63;
  command.step = 12;
  command.store = true;
  command.rounding = rounding;
  for (uint32_t k = 0; k < 2; ++k) {
    contract::PendingUpdate pending = {};
    pending.noise = noise;
    pending.step = 10 + k;
    pending.directions = 1 + k;
    pending.seed = uint64_t{1} << 63;
    pending.learning_rate = 1e-3;
    pending.weight_decay = 0.1;
    pending.coefficients = coefficients + k;
    command.updates.push_back(pending);
  }
  const cpu::PrepareJob job(command, generic);
  cpu::PrepareTally flags;
  cpu::prepare_range(job, 0, 0, count, &flags);
  uint64_t hash = fnv1a(kFnvStart, bytes.data(), bytes.size());
  hash = fnv1a(hash, plus.data(), plus.size());
  return fnv1a(hash, minus.data(), minus.size());
}

static void write_pinned() {
  printf(
      "# Written by test/native/cpp/golden_test.cc --write-pinned. bits: seed step direction index pattern; noise: "
      "kind seed step\n");
  printf(
      "# direction first count FNV-1a; prepare: wire dtype, scratch dtype, rounding, noise kind, FNV-1a of wire, W+ "
      "and W-.\n");
  const uint64_t seeds[] = {0, 7, uint64_t{1} << 63, UINT64_MAX};
  const uint64_t indices[] = {0,         1, 2, 3, 4, 127, 128, 513, 4294967295u, 4294967296u, (uint64_t{1} << 34) + 3,
                              UINT64_MAX};
  for (const uint64_t seed : seeds) {
    for (const uint64_t index : indices) {
      const uint32_t step = static_cast<uint32_t>(seed % 1000), direction = static_cast<uint32_t>(index % 3);
      printf("bits %" PRIu64 " %u %u %" PRIu64 " %08x\n", seed, step, direction, index,
             numerics::float_bits(noise_at(ZO2_NOISE_GAUSSIAN, seed, step, direction, index, true)));
    }
    for (int kind = 0; kind < 2; ++kind) {
      for (const uint64_t first : {uint64_t{0}, (uint64_t{1} << 34) - 5000}) {
        printf("noise %d %" PRIu64 " 5 1 %" PRIu64 " 100000 %016" PRIx64 "\n", kind, seed, first,
               noise_hash(static_cast<zo2_noise_kind>(kind), seed, 5, 1, first, 100000, true));
      }
    }
  }
  for (uint32_t wire = 0; wire < 3; ++wire) {
    for (uint32_t scratch = 0; scratch < 3; ++scratch) {
      for (int rounding = 0; rounding < 2; ++rounding) {
        for (int kind = 0; kind < 2; ++kind) {
          printf("prepare %u %u %d %d %016" PRIx64 "\n", wire, scratch, rounding, kind,
                 prepare_hash(wire, scratch, static_cast<zo2_rounding>(rounding), static_cast<zo2_noise_kind>(kind),
                              true));
        }
      }
    }
  }
}

static void check_line(const char* line, bool generic, double* worst) {
  uint64_t seed, position, count, hash;
  uint32_t step, purpose, direction, x[4], wire, scratch;
  int sign, kind, rounding;
  double z;
  if (sscanf(line, "words %" SCNu64 " %u %u %u %" SCNu64 " %x %x %x %x", &seed, &step, &purpose, &direction, &position,
             &x[0], &x[1], &x[2], &x[3]) == 9) {
    const numerics::PhiloxWords words = numerics::philox_at(
        numerics::noise_stream(seed, step, static_cast<numerics::Purpose>(purpose), direction), position);
    CHECK(memcmp(words.x, x, sizeof x) == 0, "%s", line);
  } else if (sscanf(line, "normal %" SCNu64 " %u %u %" SCNu64 " %lf", &seed, &step, &direction, &position, &z) == 5) {
    const double error =
        fabs(static_cast<double>(noise_at(ZO2_NOISE_GAUSSIAN, seed, step, direction, position, generic)) - z);
    if (error > *worst) *worst = error;
    CHECK(error < 1e-6, "%s: off by %g", line, error);
  } else if (sscanf(line, "sign %" SCNu64 " %u %u %" SCNu64 " %d", &seed, &step, &direction, &position, &sign) == 5) {
    CHECK(noise_at(ZO2_NOISE_RADEMACHER, seed, step, direction, position, generic) == static_cast<float>(sign), "%s",
          line);
  } else if (sscanf(line, "bits %" SCNu64 " %u %u %" SCNu64 " %x", &seed, &step, &direction, &position, &x[0]) == 5) {
    const uint32_t bits = numerics::float_bits(noise_at(ZO2_NOISE_GAUSSIAN, seed, step, direction, position, generic));
    CHECK(bits == x[0], "%s: got %08x", line, bits);
  } else if (sscanf(line, "noise %d %" SCNu64 " %u %u %" SCNu64 " %" SCNu64 " %" SCNx64, &kind, &seed, &step,
                    &direction, &position, &count, &hash) == 7) {
    CHECK(noise_hash(static_cast<zo2_noise_kind>(kind), seed, step, direction, position, count, generic) == hash, "%s",
          line);
  } else if (sscanf(line, "prepare %u %u %d %d %" SCNx64, &wire, &scratch, &rounding, &kind, &hash) == 5) {
    CHECK(prepare_hash(wire, scratch, static_cast<zo2_rounding>(rounding), static_cast<zo2_noise_kind>(kind),
                       generic) == hash,
          "%s", line);
  } else {
    CHECK(line[0] == '#', "a line that is not understood: %s", line);
  }
}

static void check_file(const std::string& path, uint64_t at_least, bool generic) {
  FILE* file = fopen(path.c_str(), "r");
  if (!CHECK(file != nullptr, "%s cannot be read", path.c_str())) return;
  char line[256];
  uint64_t lines = 0;
  double worst = 0;
  while (fgets(line, sizeof line, file) != nullptr) {
    line[strcspn(line, "\n")] = 0;
    check_line(line, generic, &worst);
    ++lines;
  }
  fclose(file);
  CHECK(lines >= at_least, "%s has %" PRIu64 " lines, expected at least %" PRIu64, path.c_str(), lines, at_least);
  printf("%s, %s kernels: %" PRIu64 " lines, largest error of a normal %.3g\n", path.c_str(),
         cpu::tile_kernels(generic).name, lines, worst);
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--write-pinned") == 0) {
    write_pinned();
    return 0;
  }
  const std::string folder = argc > 1 ? argv[1] : "test/fixtures/noise";
  for (const bool generic : {true, false}) {
    check_file(folder + "/golden.txt", 2000, generic);
    check_file(folder + "/pinned.txt", 90, generic);
  }
  return test::report();
}
