// Writes a valid program for every op into the folder that it is given, as inputs of fuzz_program. One that the
// contract refuses is an error: it would teach the fuzzer nothing.
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>

#include "op_case.h"
#include "program_input.h"

namespace {

using zo2::test::OpCase;

constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES,
              kHeadRows = -1 - ZO2_SYMBOL_HEAD_ROWS, kTargets = -1 - ZO2_SYMBOL_TARGETS;
constexpr uint64_t kMaxima[ZO2_SYMBOLS] = {12, 3, 6, 8, 4, 5, 17};

struct Builder : OpCase {
  explicit Builder(const char* name) : OpCase(name) {
    for (int s = 0; s < ZO2_SYMBOLS; s++) symbol(s, kMaxima[s], kMaxima[s]);
  }
  double floats(int space, int64_t rows, int64_t columns) { return operand(space, ZO2_F32, rows, columns); }
  double of(int space, zo2_dtype dtype, int64_t rows, int64_t columns) { return operand(space, dtype, rows, columns); }
  double integers(int64_t rows, int64_t columns) { return operand(ZO2_SPACE_INPUTS, ZO2_I32, rows, columns); }
  void add(int opcode, const std::vector<double>& words) { op(opcode, words, {}); }
};

struct Seed {
  const char* name;
  std::function<void(Builder&)> build;
};

const Seed kSeeds[] = {
    {"embed",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_CARRIED, kRows, 8), table = b.of(ZO2_SPACE_WEIGHTS, ZO2_F16, 10, 8),
                    index = b.integers(kRows, 1);
       b.add(ZO2_OP_EMBED, {out, table, index, 0, 10, 0});
       b.add(ZO2_OP_EMBED, {out, table, index, 2, 6, 1});
     }},
    {"linear",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_CARRIED, kRows, 7), x = b.of(ZO2_SPACE_WORKSPACE, ZO2_BF16, kRows, 9);
       const double weight = b.of(ZO2_SPACE_WEIGHTS, ZO2_BF16, 7, 9), bias = b.floats(ZO2_SPACE_WEIGHTS, 1, 7);
       for (double activation = ZO2_ACTIVATION_NONE; activation <= ZO2_ACTIVATION_SILU; activation++) {
         b.add(ZO2_OP_LINEAR, {out, x, weight, bias, out, activation, 1, 0});
       }
       b.add(ZO2_OP_LINEAR, {out, x, weight, -1, -1, ZO2_ACTIVATION_NONE, 0.5, 1});
     }},
    {"norms",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_WORKSPACE, kRows, 16), x = b.floats(ZO2_SPACE_CARRIED, kRows, 16);
       const double gain = b.floats(ZO2_SPACE_WEIGHTS, 1, 16), bias = b.floats(ZO2_SPACE_WEIGHTS, 1, 16),
                    part = b.floats(ZO2_SPACE_WEIGHTS, 1, 4);
       b.add(ZO2_OP_LAYER_NORM, {out, x, gain, bias, 1e-5});
       b.add(ZO2_OP_LAYER_NORM, {x, x, gain, -1, 1e-5});
       b.add(ZO2_OP_RMS_NORM, {out, out, part, 1e-6});
     }},
    {"attention",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_WORKSPACE, kRows, 16), q = b.floats(ZO2_SPACE_WORKSPACE, kRows, 16);
       const double k = b.of(ZO2_SPACE_CACHE, ZO2_F16, kRows, 8), v = b.of(ZO2_SPACE_CACHE, ZO2_F16, kRows, 8),
                    table = b.integers(kSequences, 4);
       b.add(ZO2_OP_ATTENTION, {out, q, k, v, table, 4, 2, 0.5, 0});
       b.add(ZO2_OP_ATTENTION, {q, q, k, v, table, 4, 2, 0.5, 3});
     }},
    {"cachedAttention",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_WORKSPACE, kRows, 8), q = b.floats(ZO2_SPACE_WORKSPACE, kRows, 8);
       const double k = b.floats(ZO2_SPACE_CACHE, 20, 8), v = b.floats(ZO2_SPACE_CACHE, 20, 8),
                    table = b.integers(kSequences, 5);
       b.add(ZO2_OP_ATTENTION, {out, q, k, v, table, 2, 2, 0.5, 0});
     }},
    {"rows",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_RESULTS, kHeadRows, 5), x = b.floats(ZO2_SPACE_CARRIED, kRows, 5),
                    index = b.integers(kHeadRows, 1);
       const double narrow = b.of(ZO2_SPACE_CACHE, ZO2_BF16, 16, 5), places = b.integers(kRows, 1);
       b.add(ZO2_OP_GATHER_ROWS, {out, x, index});
       b.add(ZO2_OP_SCATTER_ROWS, {narrow, x, places});
     }},
    {"crossEntropy",
     [](Builder& b) {
       const double logprob = b.floats(ZO2_SPACE_RESULTS, kTargets, 1),
                    state = b.floats(ZO2_SPACE_WORKSPACE, kHeadRows, 2);
       const double x = b.floats(ZO2_SPACE_WORKSPACE, kHeadRows, 6), weight = b.floats(ZO2_SPACE_WEIGHTS, 5, 6),
                    targets = b.integers(kTargets, 2);
       b.add(ZO2_OP_CROSS_ENTROPY, {logprob, state, x, weight, targets, 0, ZO2_TILE_FIRST});
       b.add(ZO2_OP_CROSS_ENTROPY, {logprob, state, x, weight, targets, 5, ZO2_TILE_LAST});
     }},
    {"elements",
     [](Builder& b) {
       const double x = b.floats(ZO2_SPACE_WORKSPACE, kRows, 12), up = b.floats(ZO2_SPACE_WORKSPACE, kRows, 12),
                    positions = b.integers(kRows, 1);
       const double narrow = b.of(ZO2_SPACE_CARRIED, ZO2_F16, kRows, 12);
       b.add(ZO2_OP_ROPE, {x, x, positions, 6, 4, 1, 2, 1, 0.25});
       b.add(ZO2_OP_GATED_ACTIVATION, {x, x, up, ZO2_ACTIVATION_SILU});
       b.add(ZO2_OP_CAST, {narrow, x});
     }},
    {"transpose",
     [](Builder& b) {
       const double out = b.floats(ZO2_SPACE_WORKSPACE, 6, 9), x = b.of(ZO2_SPACE_WEIGHTS, ZO2_BF16, 9, 6);
       b.add(ZO2_OP_TRANSPOSE, {out, x});
     }},
};

std::vector<double> input_of(const OpCase& built) {
  uint64_t bytes[ZO2_SPACES];
  built.space_bytes(bytes);
  std::vector<double> input(std::begin(bytes), std::end(bytes));
  for (uint64_t maximum : kMaxima) input.push_back(double(maximum));
  input.push_back(1);  // the seed
  const std::vector<double> words = built.words();
  input.insert(input.end(), words.begin(), words.end());
  return input;
}

// What the contract says against the program; empty when it is accepted.
std::string refusal(const OpCase& built) {
  zo2::test::Rig rig;
  uint64_t bytes[ZO2_SPACES];
  built.space_bytes(bytes);
  const std::vector<double> words = built.words();
  zo2_program* program = nullptr;
  const zo2_status status =
      rig.table->program_create(rig.device, words.data(), words.size(), bytes, &program, &rig.error);
  rig.table->program_destroy(program);
  return status == ZO2_OK ? "" : rig.error.message;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: fuzz_program_seeds FOLDER\n");
    return 2;
  }
  for (const Seed& seed : kSeeds) {
    Builder builder(seed.name);
    seed.build(builder);
    const std::string refused = refusal(builder);
    if (!refused.empty()) {
      std::fprintf(stderr, "seed %s is refused: %s\n", seed.name, refused.c_str());
      return 1;
    }
    const std::vector<double> input = input_of(builder);
    std::ofstream file(std::string(arguments[1]) + "/" + seed.name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(input.data()),
               static_cast<std::streamsize>(input.size() * sizeof(double)));
    if (!file) {
      std::fprintf(stderr, "%s/%s cannot be written\n", arguments[1], seed.name);
      return 1;
    }
  }
  return 0;
}
