// Programs from outside: every malformed list of words is refused with a message that names the place, and never
// crashes.
#include <cmath>
#include <cstring>
#include <limits>

#include "contract/program.h"
#include "op_case.h"
#include "rig.h"

namespace {

using zo2::test::on_cuda;
using zo2::test::OpCase;
using zo2::test::Random;
using zo2::test::Rig;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kHuge = 1e300;
constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES, kTargets = -1 - ZO2_SYMBOL_TARGETS;

// A program with every op, all of it valid. Words: 4 + 5 of the head, then 6 for each operand, then the ops.
struct Whole {
  OpCase test{"a program with every op"};
  int tokens, hidden, table, normal, gain, bias, q, k, v, sequences, attended, weight, offset, index, head, logprob,
      state, vocabulary, targets, positions, narrow, small_gain, turned, cache, slot, row, keyed;

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
    positions = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kRows, 1);
    narrow = test.operand(ZO2_SPACE_WORKSPACE, ZO2_BF16, kRows, 16);
    small_gain = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, 4);
    turned = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, 16, 30);
    cache = test.operand(ZO2_SPACE_CACHE, ZO2_F32, 40, 16);
    // One row, so that no table names one twice.
    slot = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, 1, 1);
    row = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, 1, 16);
    keyed = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kSequences, 5);
    test.op(ZO2_OP_EMBED, {double(hidden), double(table), double(tokens), 0, 30, 0}, {hidden});
    test.op(ZO2_OP_LAYER_NORM, {double(normal), double(hidden), double(gain), double(bias), 1e-5}, {normal});
    test.op(ZO2_OP_LINEAR, {double(q), double(normal), double(weight), double(offset), -1, ZO2_ACTIVATION_RELU, 1, 0},
            {q});
    test.op(ZO2_OP_ATTENTION, {double(attended), double(q), double(k), double(v), double(sequences), 4, 2, 0.5, 0},
            {attended});
    test.op(ZO2_OP_LINEAR,
            {double(hidden), double(attended), double(weight), -1, double(hidden), ZO2_ACTIVATION_NONE, 1, 0},
            {hidden});
    test.op(ZO2_OP_GATHER_ROWS, {double(head), double(hidden), double(index)}, {head});
    test.op(ZO2_OP_CROSS_ENTROPY,
            {double(logprob), double(state), double(head), double(vocabulary), double(targets), 0, 3},
            {logprob, state});
    test.op(ZO2_OP_RMS_NORM, {double(q), double(q), double(small_gain), 1e-6}, {q});
    test.op(ZO2_OP_ROPE, {double(k), double(k), double(positions), 4, 4, 1, 2, 1, 0.25}, {k});
    test.op(ZO2_OP_GATED_ACTIVATION, {double(attended), double(attended), double(q), ZO2_ACTIVATION_SILU}, {attended});
    test.op(ZO2_OP_CAST, {double(narrow), double(attended)}, {narrow});
    test.op(ZO2_OP_TRANSPOSE, {double(turned), double(table)}, {turned});
    test.op(ZO2_OP_SCATTER_ROWS, {double(cache), double(row), double(slot)}, {cache});
    test.op(ZO2_OP_ATTENTION, {double(attended), double(q), double(cache), double(cache), double(keyed), 4, 4, 0.5, 0},
            {attended});
    Random random(1);
    for (int operand : {hidden, table, gain, bias, k, v, weight, offset, vocabulary, small_gain, cache, row})
      test.randomise(operand, random, 1);
    for (int64_t r = 0; r < 20; r++) {
      test.set(tokens, r, 0, double(r));
      test.set(positions, r, 0, double(r));
    }
    const double rows[2][4] = {{0, 12, 0, 0}, {12, 8, 0, 12}};
    for (int64_t s = 0; s < 2; s++) {
      for (int64_t c = 0; c < 4; c++) {
        test.set(sequences, s, c, rows[s][c]);
        test.set(keyed, s, c, rows[s][c]);
      }
      test.set(keyed, s, 4, double(20 * s));
    }
    test.set(slot, 0, 0, 39);
    for (int64_t r = 0; r < 9; r++) test.set(index, r, 0, double(2 * r));
    for (int64_t t = 0; t < 11; t++) {
      test.set(targets, t, 0, double(t % 9));
      test.set(targets, t, 1, double(t));
    }
  }
};

// What the device under test says when such a program is created; nothing when it accepts it.
std::string refusal(Rig& rig, const std::vector<double>& words, const uint64_t bytes[ZO2_SPACES]) {
  // Copied to its exact size, so that a sanitizer sees a read past the end.
  const std::vector<double> exact(words.begin(), words.end());
  zo2_program* program = nullptr;
  const zo2_status status =
      rig.table->program_create(rig.device, exact.data(), exact.size(), bytes, &program, &rig.error);
  rig.table->program_destroy(program);
  if (status == ZO2_OK) return "";
  CHECK(program == nullptr, "a program that is refused is not made");
  return status == ZO2_STATUS_INVALID_ARGUMENT ? rig.error.message
                                               : std::string("another status: ") + rig.error.message;
}

// Word `field` of an operand: 0 space, 1 offset, 2 dtype, 3 rows, 4 columns, 5 stride.
size_t operand_word(int operand, size_t field) { return 4 + ZO2_SYMBOLS + static_cast<size_t>(operand) * 6 + field; }

// Where op `number` begins: its opcode.
size_t op_word(const std::vector<double>& words, int number) {
  size_t at = 4 + ZO2_SYMBOLS + static_cast<size_t>(words[1]) * 6;
  for (int i = 0; i < number; i++) at += 2 + static_cast<size_t>(words[at + 1]);
  return at;
}

void expect_refused(Rig& rig, const std::vector<double>& words, const uint64_t bytes[ZO2_SPACES],
                    const std::vector<const char*>& parts) {
  const std::string message = refusal(rig, words, bytes);
  bool names = !message.empty();
  for (const char* part : parts) names = names && message.find(part) != std::string::npos;
  CHECK(names, "expected a refusal with \"%s\", got \"%s\"", parts.back(), message.c_str());
}

void test_refusals() {
  Rig rig;
  const Whole whole;
  const std::vector<double> valid = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  CHECK(refusal(rig, valid, bytes).empty(), "%s", refusal(rig, valid, bytes).c_str());

  const auto with = [&](size_t word, double value, const std::vector<const char*>& parts) {
    std::vector<double> words = valid;
    words[word] = value;
    expect_refused(rig, words, bytes, parts);
  };
  const auto op = [&](int number, size_t word, double value, const std::vector<const char*>& parts) {
    with(op_word(valid, number) + 2 + word, value, parts);
  };

  with(0, 1, {"version"});
  with(0, kNaN, {"version"});
  with(1, 1e9, {"operands need"});
  with(1, -1, {"operand count"});
  with(2, 15, {"ends after"});
  with(2, 13, {"words follow the last op"});
  with(3, 8, {"symbol count"});
  with(4, 0.5, {"symbol 0"});
  with(4, 1e6, {"exceeds", "bytes of space"});
  with(4, 9007199254740992.0, {"exceeds", "bytes of space"});
  with(operand_word(whole.q, 0), 6, {"operand 6's space"});
  with(operand_word(whole.q, 1), 1e15, {"operand 6", "exceeds", "workspace"});
  with(operand_word(whole.q, 1), valid[operand_word(whole.q, 1)] + 2, {"operand 6", "multiple"});
  with(operand_word(whole.q, 2), 4, {"operand 6's dtype"});
  with(operand_word(whole.q, 3), -8, {"operand 6's rows"});
  with(operand_word(whole.q, 4), 0, {"operand 6's columns"});
  with(operand_word(whole.q, 5), 15, {"operand 6's row stride"});
  with(operand_word(whole.q, 5), 2147483648.0, {"operand 6's row stride"});
  with(operand_word(whole.q, 5), 2147483647.0, {"operand 6", "exceeds"});
  with(op_word(valid, 0), 13, {"op 0", "opcode 13"});
  with(op_word(valid, 2) + 1, 5, {"op 2 (linear)", "number of words"});
  op(0, 0, whole.keyed + 1, {"op 0 (embed)", "out"});
  op(0, 1, -1, {"op 0 (embed)", "table"});
  op(0, 2, whole.hidden, {"op 0 (embed)", "index", "i32"});
  op(0, 4, 31, {"op 0 (embed)", "rowCount is 31"});
  op(0, 5, 2, {"op 0 (embed)", "accumulate"});
  op(1, 4, -1e-5, {"op 1 (layerNorm)", "epsilon"});
  op(1, 4, kNaN, {"op 1 (layerNorm)", "epsilon"});
  op(1, 1, whole.head, {"op 1 (layerNorm)", "x has symbol 2 rows", "out has symbol 0"});
  op(1, 2, whole.k, {"op 1 (layerNorm)", "gain"});
  op(2, 1, whole.k, {"op 2 (linear)", "weight has 16 columns"});
  op(2, 6, kHuge, {"op 2 (linear)", "scale"});
  op(2, 6, kNaN, {"op 2 (linear)", "scale"});
  op(2, 7, 2, {"op 2 (linear)", "inner"});
  op(2, 2, whole.vocabulary, {"op 2 (linear)", "weight has 30 rows"});
  op(2, 2, whole.tokens, {"op 2 (linear)", "weight has dtype i32"});
  op(2, 3, whole.weight, {"op 2 (linear)", "bias has 16 rows"});
  op(2, 1, whole.q, {"op 2 (linear)", "out overlaps x"});
  op(2, 5, 5, {"op 2 (linear)", "activation"});
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
  op(3, 8, -1, {"op 3 (attention)", "window"});
  op(3, 8, 0.5, {"op 3 (attention)", "window"});
  op(7, 1, whole.head, {"op 7 (rmsNorm)", "x has symbol 2 rows"});
  op(7, 1, whole.k, {"op 7 (rmsNorm)", "x has 8 columns"});
  op(7, 2, whole.weight, {"op 7 (rmsNorm)", "gain has 16 rows"});
  op(7, 2, whole.table, {"op 7 (rmsNorm)", "gain has 30 rows"});
  op(7, 2, whole.keyed + 1, {"op 7 (rmsNorm)", "gain"});
  op(7, 3, kNaN, {"op 7 (rmsNorm)", "epsilon"});
  op(8, 1, whole.q, {"op 8 (rope)", "x has 16 columns"});
  op(8, 2, whole.index, {"op 8 (rope)", "positions has symbol 2 rows"});
  op(8, 2, whole.k, {"op 8 (rope)", "positions has dtype f32"});
  op(8, 3, 3, {"op 8 (rope)", "not a multiple of headSize, 3"});
  op(8, 4, 6, {"op 8 (rope)", "rotary is 6"});
  op(8, 4, 3, {"op 8 (rope)", "rotary is 3"});
  op(8, 4, 2, {"op 8 (rope)", "count is 2, rotary asks for 1"});
  op(8, 5, kHuge, {"op 8 (rope)", "scaling"});
  op(8, 6, 3, {"op 8 (rope)", "it has 9 words, but count, 3, asks for 10"});
  op(8, 6, 1e15, {"op 8 (rope)", "it has 9 words"});
  op(8, 7, kNaN, {"op 8 (rope)", "frequency 0"});
  op(8, 8, -HUGE_VAL, {"op 8 (rope)", "frequency 1"});
  with(op_word(valid, 8) + 1, 6, {"op 8 (rope)", "number of words"});
  with(op_word(valid, 8) + 1, 1e6, {"op 8 (rope)", "it has 1000000 words"});
  op(9, 1, whole.k, {"op 9 (gatedActivation)", "gate has 8 columns"});
  op(9, 2, whole.attended, {"op 9 (gatedActivation)", "out overlaps up"});
  op(9, 3, 5, {"op 9 (gatedActivation)", "activation"});
  op(10, 1, whole.narrow, {"op 10 (cast)", "out overlaps x"});
  op(10, 1, whole.head, {"op 10 (cast)", "x has symbol 2 rows"});
  op(3, 4, whole.slot, {"op 3 (attention)", "sequences has 1 columns, it must have 4, or 5 with keyStart"});
  op(11, 0, whole.vocabulary, {"op 11 (transpose)", "out has 30 rows, x asks for 16"});
  op(11, 1, whole.weight, {"op 11 (transpose)", "out has 30 columns, x asks for 16"});
  op(11, 1, whole.hidden, {"op 11 (transpose)", "x has a run-time number of rows"});
  op(11, 1, whole.tokens, {"op 11 (transpose)", "x has dtype i32"});
  op(11, 0, whole.hidden, {"op 11 (transpose)", "out has symbol 0 rows, x asks for 16"});
  std::vector<double> in_place = valid;
  in_place[op_word(valid, 11) + 2] = in_place[op_word(valid, 11) + 3] = whole.weight;
  expect_refused(rig, in_place, bytes, {"op 11 (transpose)", "out overlaps x"});
  op(12, 0, whole.k, {"op 12 (scatterRows)", "x has 16 columns, out asks for 8"});
  op(12, 1, whole.hidden, {"op 12 (scatterRows)", "index has 1 rows, x has symbol 0"});
  op(12, 2, whole.tokens, {"op 12 (scatterRows)", "index has symbol 0 rows, x has 1"});
  op(12, 2, whole.gain, {"op 12 (scatterRows)", "index"});
  op(12, 0, whole.row, {"op 12 (scatterRows)", "out overlaps x"});
  op(13, 2, whole.attended, {"op 13 (attention)", "k has symbol 0 rows, v has 40"});
  op(13, 4, whole.sequences, {"op 13 (attention)", "k has 40 rows, q has symbol 0"});
  op(13, 2, whole.row, {"op 13 (attention)", "k has 1 rows, v has 40"});
  with(operand_word(whole.cache, 1), 1e9, {"exceeds", "space cache"});

  for (size_t length = 0; length < valid.size(); length++) {
    expect_refused(rig, {valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(length)}, bytes, {""});
  }
  std::vector<double> longer = valid;
  longer.push_back(0);
  expect_refused(rig, longer, bytes, {"1 words follow"});
  for (int s = 0; s < ZO2_SPACES; s++) {
    uint64_t smaller[ZO2_SPACES];
    std::copy(bytes, bytes + ZO2_SPACES, smaller);
    smaller[s] = zo2::contract::Program(nullptr, valid.data(), valid.size(), bytes).required(s) - 1;
    expect_refused(rig, valid, smaller, {"exceeds"});
  }
}

void test_overlap() {
  Rig rig;
  for (int shift : {0, 4, 8, 12}) {
    OpCase test("slices of one matrix");
    test.symbol(ZO2_SYMBOL_ROWS, 5, 5);
    const int whole = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kRows, 16);
    const int x = test.slice(whole, 0, 8), out = test.slice(whole, shift, 8 - (shift == 12 ? 4 : 0));
    const int weight = test.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, test.cols(out), 8);
    test.op(ZO2_OP_LINEAR, {double(out), double(x), double(weight), -1, -1, 0, 1, 0}, {out});
    uint64_t bytes[ZO2_SPACES];
    test.space_bytes(bytes);
    const std::string message = refusal(rig, test.words(), bytes);
    CHECK(message.empty() == (shift >= 8), "columns %d.. of a matrix beside columns 0..7: \"%s\"", shift,
          message.c_str());
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

// Mutated programs are refused or, when they are still valid, run within their memory (guards and sanitizers watch),
// whatever their tables hold.
void test_fuzz() {
  const int rounds = on_cuda() ? 3000 : 20000;
  Random random(20240607);
  const Whole whole;
  const std::vector<double> valid = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  Rig rig;
  zo2_stream* const filler = rig.stream("filler");
  zo2_buffer *device[ZO2_SPACES], *host[ZO2_SPACES];
  for (int s = 0; s < ZO2_SPACES; s++) {
    device[s] = rig.buffer(ZO2_BUFFER_DEVICE, bytes[s]);
    host[s] = rig.buffer(ZO2_BUFFER_HOST, bytes[s]);
  }
  int64_t refused = 0, ran = 0, failed = 0, odd = 0;
  for (int round = 0; round < rounds; round++) {
    std::vector<double> words = valid;
    for (int64_t i = random.below(3); i >= 0; i--) {
      const size_t at = static_cast<size_t>(random.below(static_cast<int64_t>(words.size())));
      words[at] = mutated(random, words[at]);
    }
    if (random.below(20) == 0) words.resize(static_cast<size_t>(random.below(static_cast<int64_t>(words.size()))));
    zo2_run_args args = {};
    zo2_program* program = nullptr;
    if (const zo2_status status =
            rig.table->program_create(rig.device, words.data(), words.size(), bytes, &program, &rig.error);
        status != ZO2_OK) {
      refused++;
      // A valid program may still have a head size or the like that the backend does not have.
      const bool known = status == ZO2_STATUS_INVALID_ARGUMENT || (on_cuda() && status == ZO2_STATUS_UNSUPPORTED);
      odd += !known || std::strlen(rig.error.message) < 10 || std::strlen(rig.error.message) > 507;
      continue;
    }
    for (int s = 0; s < ZO2_SPACES; s++) {
      uint8_t* const memory = static_cast<uint8_t*>(rig.table->buffer_host_pointer(host[s]));
      for (uint64_t i = 0; i < bytes[s]; i++)
        memory[i] = random.below(3) == 0 ? static_cast<uint8_t>(random.bits()) : 0;
      rig.ok(rig.table->copy(filler, {device[s], 0}, {host[s], 0}, bytes[s], &rig.error));
      args.spaces[s] = {device[s], 0};
    }
    rig.ok(rig.finish(filler).status);
    args.program = program;
    for (int s = 0; s < static_cast<int>(words[3]); s++) {
      args.symbols[s] =
          std::min(static_cast<uint64_t>(words[4 + static_cast<size_t>(s)]), static_cast<uint64_t>(random.below(30)));
    }
    zo2_stream* stream = nullptr;
    rig.ok(rig.table->stream_create(rig.device, "fuzz", &stream, &rig.error));
    rig.ok(rig.table->run(stream, &args, &rig.error));
    const zo2_error ended = rig.finish(stream);
    (ended.status == ZO2_OK ? ran : failed)++;
    odd += ended.status != ZO2_OK && ended.status != ZO2_STATUS_INVALID_ARGUMENT;
    rig.table->stream_destroy(stream);
    rig.table->program_destroy(program);
  }
  CHECK(odd == 0, "%lld errors of another status or without a usable message", static_cast<long long>(odd));
  CHECK(refused > rounds / 2 && ran + failed > rounds / 40, "%lld refused, %lld ran, %lld failed in the run",
        static_cast<long long>(refused), static_cast<long long>(ran), static_cast<long long>(failed));
}

void test_run_refusals() {
  Whole whole;
  const std::vector<double> words = whole.test.words();
  uint64_t bytes[ZO2_SPACES];
  whole.test.space_bytes(bytes);
  Rig rig;
  zo2_stream* const filler = rig.stream("filler");
  zo2_run_args args{};
  args.program = rig.program(words, bytes);
  for (int s = 0; s < ZO2_SPACES; s++) {
    args.spaces[s] = {rig.buffer(ZO2_BUFFER_DEVICE, bytes[s] + 16), 0};
    rig.ok(rig.table->fill(filler, args.spaces[s], 0, bytes[s] + 16, &rig.error));
  }
  rig.ok(rig.finish(filler).status);
  // What refuses the run, or poisons its stream.
  const auto message = [&](const std::vector<uint64_t>& symbols) -> std::string {
    zo2_stream* const stream = rig.stream("run");
    std::copy(symbols.begin(), symbols.end(), args.symbols);
    if (rig.table->run(stream, &args, &rig.error) != ZO2_OK) return rig.error.message;
    const zo2_error ended = rig.finish(stream);
    return ended.status == ZO2_OK ? "" : ended.message;
  };
  const auto refused = [&](const std::vector<uint64_t>& symbols, const char* text) {
    const std::string got = message(symbols);
    CHECK(got.find(text) != std::string::npos, "\"%s\" should have \"%s\"", got.c_str(), text);
  };
  CHECK(message({20, 0, 5, 0, 0}).empty(), "a run whose tables are zeros is fine: %s", rig.error.message);
  CHECK(message({0, 0, 0, 0, 0}).empty(), "a run without rows does nothing");
  refused({25, 0, 0, 0, 0}, "symbol 0 (rows) is 25");
  refused({20, 0, 0, 0, 1}, "symbol 4 (table rows) is 1");
  args.spaces[ZO2_SPACE_CARRIED].offset = 2;
  refused({20, 0, 5, 0, 0}, "multiple of 4");
  zo2_buffer* const carried = args.spaces[ZO2_SPACE_CARRIED].buffer;
  args.spaces[ZO2_SPACE_CARRIED] = {nullptr, 0};
  refused({20, 0, 5, 0, 0}, "carried");
  args.spaces[ZO2_SPACE_CARRIED] = {carried, 0};
  rig.ok(rig.table->fill(filler, args.spaces[ZO2_SPACE_INPUTS], 0xff, bytes[ZO2_SPACE_INPUTS], &rig.error));
  rig.ok(rig.finish(filler).status);
  refused({20, 0, 5, 0, 0}, "op 5 (gatherRows): index row 0 names row -1");
  rig.launched(ZO2_OK);
  rig.ok(rig.finish(filler).status);
}

}  // namespace

int main() {
  Whole whole;
  zo2::test::through_contract(whole.test, [] {});
  test_refusals();
  test_overlap();
  test_run_refusals();
  test_fuzz();
  return zo2::test::report();
}
