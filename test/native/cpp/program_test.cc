// Programs from outside: every malformed list of words is refused with a Failure that names the place, and never crashes.
#include <cmath>
#include <cstring>
#include <limits>

#include "contract/commands.h"
#include "contract/status.h"
#include "op_case.h"

namespace {

using zo2::contract::Failure;
using zo2::contract::Program;
using zo2::test::OpCase;
using zo2::test::Random;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kHuge = 1e300;
constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES, kTargets = -1 - ZO2_SYMBOL_TARGETS;

// A program with every op, all of it valid. Words: 4 + 5 of the head, then 6 for each operand, then the ops.
struct Whole {
  OpCase test{"a program with every op"};
  int tokens, hidden, table, normal, gain, bias, q, k, v, sequences, attended, weight, offset, index, head, logprob, state, vocabulary,
      targets;

  Whole() {
    test.symbol(ZO2_SYMBOL_ROWS, 24, 20);
    test.symbol(ZO2_SYMBOL_SEQUENCES, 3, 2);
    test.symbol(ZO2_SYMBOL_HEAD_ROWS, 10, 9);
    test.symbol(ZO2_SYMBOL_TARGETS, 12, 11);
    const int head_rows = -1 - ZO2_SYMBOL_HEAD_ROWS;
    tokens = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kRows, 1);
    hidden = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kRows, 16);
    table = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F16, 30, 16);
    normal = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 16);
    gain = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, 16);
    bias = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, 16);
    q = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 16);
    k = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8);
    v = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8);
    sequences = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kSequences, 4);
    attended = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 16);
    weight = test.operand(ZO2_SPACE_WEIGHTS, ZO2_BF16, 16, 16);
    offset = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, 16);
    index = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, head_rows, 1);
    head = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, head_rows, 16);
    logprob = test.operand(ZO2_SPACE_RESULTS, ZO2_F32, kTargets, 1);
    state = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, head_rows, 2);
    vocabulary = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 30, 16);
    targets = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kTargets, 2);
    test.op(ZO2_OP_EMBED, {double(hidden), double(table), double(tokens), 0, 30, 0}, {hidden});
    test.op(ZO2_OP_LAYER_NORM, {double(normal), double(hidden), double(gain), double(bias), 1e-5}, {normal});
    test.op(ZO2_OP_LINEAR, {double(q), double(normal), double(weight), double(offset), -1, ZO2_ACTIVATION_RELU}, {q});
    test.op(ZO2_OP_ATTENTION, {double(attended), double(q), double(k), double(v), double(sequences), 4, 2, 0.5}, {attended});
    test.op(ZO2_OP_LINEAR, {double(hidden), double(attended), double(weight), -1, double(hidden), ZO2_ACTIVATION_NONE}, {hidden});
    test.op(ZO2_OP_GATHER_ROWS, {double(head), double(hidden), double(index)}, {head});
    test.op(ZO2_OP_CROSS_ENTROPY, {double(logprob), double(state), double(head), double(vocabulary), double(targets), 0, 3},
            {logprob, state});
    Random random(1);
    for (int operand : {hidden, table, gain, bias, k, v, weight, offset, vocabulary}) test.randomise(operand, random, 1);
    for (int64_t r = 0; r < 20; r++) test.set(tokens, r, 0, double(r));
    const double rows[2][4] = {{0, 12, 0, 0}, {12, 8, 0, 12}};
    for (int64_t s = 0; s < 2; s++) {
      for (int64_t c = 0; c < 4; c++) test.set(sequences, s, c, rows[s][c]);
    }
    for (int64_t r = 0; r < 9; r++) test.set(index, r, 0, double(2 * r));
    for (int64_t t = 0; t < 11; t++) {
      test.set(targets, t, 0, double(t % 9));
      test.set(targets, t, 1, double(t));
    }
  }
};

std::string refusal(const std::vector<double>& words, const uint64_t bytes[ZO2_SPACES]) {
  try {
    // Copied to its exact size, so that a sanitizer sees a read past the end.
    const std::vector<double> exact(words.begin(), words.end());
    const Program program(nullptr, exact.data(), exact.size(), bytes);
    return "";
  } catch (const Failure& failure) {
    return failure.status == ZO2_STATUS_INVALID_ARGUMENT ? failure.what() : std::string("another status: ") + failure.what();
  }
}

// Word `field` of an operand: 0 space, 1 offset, 2 dtype, 3 rows, 4 columns, 5 stride.
size_t operand_word(int operand, size_t field) { return 9 + static_cast<size_t>(operand) * 6 + field; }

// Where op `number` begins: its opcode.
size_t op_word(const std::vector<double>& words, int number) {
  size_t at = 9 + static_cast<size_t>(words[1]) * 6;
  for (int i = 0; i < number; i++) at += 2 + static_cast<size_t>(words[at + 1]);
  return at;
}

void expect_refused(const std::vector<double>& words, const uint64_t bytes[ZO2_SPACES], const std::vector<const char*>& parts) {
  const std::string message = refusal(words, bytes);
  bool names = !message.empty();
  for (const char* part : parts) names = names && message.find(part) != std::string::npos;
  CHECK(names, "expected a refusal with \"%s\", got \"%s\"", parts.back(), message.c_str());
}

void test_refusals() {
  const Whole whole;
  const std::vector<double> valid = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  CHECK(refusal(valid, bytes).empty(), "%s", refusal(valid, bytes).c_str());

  const auto with = [&](size_t word, double value, const std::vector<const char*>& parts) {
    std::vector<double> words = valid;
    words[word] = value;
    expect_refused(words, bytes, parts);
  };
  const auto op = [&](int number, size_t word, double value, const std::vector<const char*>& parts) {
    with(op_word(valid, number) + 2 + word, value, parts);
  };

  with(0, 2, {"version"});
  with(0, kNaN, {"version"});
  with(1, 1e9, {"operands need"});
  with(1, -1, {"operand count"});
  with(2, 8, {"ends after"});
  with(2, 6, {"words follow the last op"});
  with(3, 6, {"symbol count"});
  with(4, 0.5, {"symbol 0"});
  with(4, 1e6, {"exceeds", "bytes of space"});
  with(4, 9007199254740992.0, {"exceeds", "bytes of space"});
  with(operand_word(whole.q, 0), 5, {"operand 6's space"});
  with(operand_word(whole.q, 1), 1e15, {"operand 6", "exceeds", "workspace"});
  with(operand_word(whole.q, 1), valid[operand_word(whole.q, 1)] + 2, {"operand 6", "multiple"});
  with(operand_word(whole.q, 2), 4, {"operand 6's dtype"});
  with(operand_word(whole.q, 3), -6, {"operand 6's rows"});
  with(operand_word(whole.q, 4), 0, {"operand 6's columns"});
  with(operand_word(whole.q, 5), 15, {"operand 6's row stride"});
  with(operand_word(whole.q, 5), 2147483648.0, {"operand 6's row stride"});
  with(operand_word(whole.q, 5), 2147483647.0, {"operand 6", "exceeds"});
  with(op_word(valid, 0), 7, {"op 0", "opcode 7"});
  with(op_word(valid, 2) + 1, 5, {"op 2 (linear)", "number of words"});
  op(0, 0, 19, {"op 0 (embed)", "out"});
  op(0, 1, -1, {"op 0 (embed)", "table"});
  op(0, 2, whole.hidden, {"op 0 (embed)", "index", "i32"});
  op(0, 4, 31, {"op 0 (embed)", "rowCount is 31"});
  op(0, 5, 2, {"op 0 (embed)", "accumulate"});
  op(1, 4, -1e-5, {"op 1 (layerNorm)", "epsilon"});
  op(1, 4, kNaN, {"op 1 (layerNorm)", "epsilon"});
  op(1, 1, whole.head, {"op 1 (layerNorm)", "x has symbol 2 rows", "out has symbol 0"});
  op(1, 2, whole.k, {"op 1 (layerNorm)", "gain"});
  op(2, 1, whole.k, {"op 2 (linear)", "weight has 16 columns"});
  op(2, 2, whole.vocabulary, {"op 2 (linear)", "weight has 30 rows"});
  op(2, 2, whole.tokens, {"op 2 (linear)", "weight has dtype i32"});
  op(2, 3, whole.weight, {"op 2 (linear)", "bias has 16 rows"});
  op(2, 1, whole.q, {"op 2 (linear)", "out overlaps x"});
  op(2, 5, 3, {"op 2 (linear)", "activation"});
  op(3, 5, 3, {"op 3 (attention)", "kvHeads"});
  op(3, 5, 6, {"op 3 (attention)", "heads do not divide"});
  op(3, 6, 4, {"op 3 (attention)", "k has 8 columns"});
  op(3, 6, 0, {"op 3 (attention)", "kvHeads"});
  op(3, 7, kHuge * kHuge, {"op 3 (attention)", "scale"});
  op(3, 4, whole.tokens, {"op 3 (attention)", "sequences"});
  op(3, 0, whole.k, {"op 3 (attention)", "out"});
  op(5, 2, whole.tokens, {"op 5 (gatherRows)", "index"});
  op(6, 1, whole.head, {"op 6 (crossEntropy)", "state"});
  op(6, 0, whole.state, {"op 6 (crossEntropy)", "logprob"});
  op(6, 6, 4, {"op 6 (crossEntropy)", "tileFlags"});

  for (size_t length = 0; length < valid.size(); length++) {
    expect_refused({valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(length)}, bytes, {""});
  }
  std::vector<double> longer = valid;
  longer.push_back(0);
  expect_refused(longer, bytes, {"1 words follow"});
  for (int s = 0; s < ZO2_SPACES; s++) {
    uint64_t smaller[ZO2_SPACES];
    std::copy(bytes, bytes + ZO2_SPACES, smaller);
    smaller[s] = Program(nullptr, valid.data(), valid.size(), bytes).required(s) - 1;
    expect_refused(valid, smaller, {"exceeds"});
  }
}

void test_overlap() {
  for (int shift : {0, 4, 8, 12}) {
    OpCase test("slices of one matrix");
    test.symbol(ZO2_SYMBOL_ROWS, 5, 5);
    const int whole = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kRows, 16);
    const int x = test.slice(whole, 0, 8), out = test.slice(whole, shift, 8 - (shift == 12 ? 4 : 0));
    const int weight = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, test.cols(out), 8);
    test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), -1, -1, 0}, {out});
    uint64_t bytes[ZO2_SPACES];
    test.space_bytes(bytes);
    const std::string message = refusal(test.words(), bytes);
    CHECK(message.empty() == (shift >= 8), "columns %d.. of a matrix beside columns 0..7: \"%s\"", shift, message.c_str());
  }
}

// Values that parsers stumble over, and neighbours of what stood there.
double mutated(Random& random, double word) {
  const double values[] = {kNaN,
                           HUGE_VAL,
                           -HUGE_VAL,
                           kHuge,
                           -1,
                           0,
                           1,
                           2147483647,
                           2147483648.0,
                           4294967296.0,
                           9007199254740992.0,
                           9007199254740994.0,
                           18446744073709551616.0,
                           -0.0,
                           0.5,
                           5e-324};
  switch (random.below(4)) {
    case 0:
      return values[random.below(sizeof values / sizeof values[0])];
    case 1:
      return word + double(random.below(7)) - 3;
    case 2:
      return double(random.below(40)) - 6;
    default: {
      double bits;
      const uint64_t pattern = random.bits();
      std::memcpy(&bits, &pattern, sizeof bits);
      return bits;
    }
  }
}

// Mutated programs are refused or, when they are still valid, run within their memory (the sanitizers watch), whatever their tables hold.
void test_fuzz() {
  Random random(20240607);
  const Whole whole;
  const std::vector<double> valid = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  zo2::cpu::ThreadPool pool(2);
  int64_t refused = 0, ran = 0, failed = 0, odd = 0;
  for (int round = 0; round < 20000; round++) {
    std::vector<double> words = valid;
    for (int64_t i = random.below(3); i >= 0; i--) {
      const size_t at = static_cast<size_t>(random.below(static_cast<int64_t>(words.size())));
      words[at] = mutated(random, words[at]);
    }
    if (random.below(20) == 0) words.resize(static_cast<size_t>(random.below(static_cast<int64_t>(words.size()))));
    try {
      const Program program(nullptr, words.data(), words.size(), bytes);
      std::vector<std::vector<uint8_t>> memory;
      uint8_t* spaces[ZO2_SPACES];
      for (int s = 0; s < ZO2_SPACES; s++) {
        memory.emplace_back(program.required(s));
        for (uint8_t& byte : memory.back()) byte = random.below(3) == 0 ? static_cast<uint8_t>(random.bits()) : 0;
        spaces[s] = memory.back().data();
      }
      uint64_t symbols[ZO2_SYMBOLS];
      for (int s = 0; s < ZO2_SYMBOLS; s++)
        symbols[s] = std::min<uint64_t>(program.symbol_maximum(s), static_cast<uint64_t>(random.below(30)));
      try {
        zo2::cpu::run_program(program, spaces, symbols, pool, zo2::cpu::has_avx2_fma_f16c());
        ran++;
      } catch (const Failure&) {
        failed++;
      }
    } catch (const Failure& failure) {
      refused++;
      odd += failure.status != ZO2_STATUS_INVALID_ARGUMENT || std::strlen(failure.what()) < 10 || std::strlen(failure.what()) > 507;
    }
  }
  CHECK(odd == 0, "%lld refusals without a usable message", static_cast<long long>(odd));
  CHECK(refused > 10000 && ran + failed > 500, "%lld refused, %lld ran, %lld failed in the run", static_cast<long long>(refused),
        static_cast<long long>(ran), static_cast<long long>(failed));
}

void test_run_refusals() {
  Whole whole;
  const std::vector<double> words = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  const Program program(nullptr, words.data(), words.size(), bytes);
  zo2::cpu::ThreadPool pool(1);
  std::vector<std::vector<uint64_t>> memory;
  zo2::contract::Memory buffers[ZO2_SPACES];
  zo2_run_args args{};
  args.program = reinterpret_cast<const zo2_program*>(&program);
  for (int s = 0; s < ZO2_SPACES; s++) {
    CHECK(program.uses(s) && program.required(s) <= bytes[s], "space %d is used", s);
    memory.emplace_back(bytes[s] / 8 + 2);
    buffers[s] = {nullptr, ZO2_BUFFER_DEVICE, bytes[s] + 16, reinterpret_cast<uint8_t*>(memory.back().data())};
    args.spaces[s] = {reinterpret_cast<zo2_buffer*>(&buffers[s]), 0};
  }
  const auto message = [&](const uint64_t(&symbols)[ZO2_SYMBOLS]) -> std::string {
    try {
      std::copy(std::begin(symbols), std::end(symbols), args.symbols);
      const zo2::contract::RunCommand command = zo2::contract::resolve_run(nullptr, args);
      zo2::cpu::run_program(program, command.spaces.data(), command.symbols.data(), pool, false);
      return "";
    } catch (const Failure& failure) {
      return failure.what();
    }
  };
  CHECK(message({20, 0, 5, 0, 0}).empty(), "%s", message({20, 0, 5, 0, 0}).c_str());
  CHECK(message({0, 0, 0, 0, 0}).empty(), "a run without rows does nothing");
  CHECK(message({25, 0, 0, 0, 0}).find("symbol 0 (rows) is 25") != std::string::npos, "%s", message({25, 0, 0, 0, 0}).c_str());
  CHECK(message({20, 0, 0, 0, 1}).find("symbol 4 (table rows) is 1") != std::string::npos, "a symbol without a maximum stays 0");
  args.spaces[ZO2_SPACE_CARRIED].offset = 2;
  CHECK(message({20, 0, 5, 0, 0}).find("multiple of 4") != std::string::npos, "a misaligned space is refused");
  args.spaces[ZO2_SPACE_CARRIED] = {nullptr, 0};
  CHECK(message({20, 0, 5, 0, 0}).find("carried") != std::string::npos, "a missing space is refused by name");
  args.spaces[ZO2_SPACE_CARRIED] = {reinterpret_cast<zo2_buffer*>(&buffers[ZO2_SPACE_CARRIED]), 0};
  memory[ZO2_SPACE_INPUTS].assign(memory[ZO2_SPACE_INPUTS].size(), ~uint64_t{0});
  CHECK(message({20, 0, 5, 0, 0}).find("op 5 (gatherRows): index row 0 names row -1") != std::string::npos, "%s",
        message({20, 0, 5, 0, 0}).c_str());
}

}  // namespace

int main() {
  Whole whole;
  whole.test.run([] {});
  test_refusals();
  test_overlap();
  test_run_refusals();
  test_fuzz();
  return zo2::test::report();
}
