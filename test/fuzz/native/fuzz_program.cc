// Programs from outside: every list of words is refused with a message or accepted; what is accepted runs on the CPU
// backend, over spaces of exactly the sizes it asks for and tables of any content, to the same bytes whatever the
// number of threads.
#include <algorithm>
#include <limits>

#include "contract/program.h"
#include "program_input.h"
#include "world.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace zo2::fuzz;

constexpr uint64_t kMostSpace = 32768;
constexpr uint64_t kMostOps = 12;
// Multiplications of a run, roughly: more would be slow, not wrong.
constexpr double kMostWork = 1 << 26;
constexpr size_t kOperandWords = 6;

double work_of(const zo2::contract::Program& program) {
  double work = 0;
  for (const auto& op : program.ops()) {
    double rows = 1, other_rows = 1, columns = 1;
    for (int index : op.operands) {
      if (index < 0) continue;
      const auto& operand = program.operands()[static_cast<size_t>(index)];
      const double most = operand.rows >= 0 ? double(operand.rows)
                                            : double(program.symbol_maximum(static_cast<int>(-1 - operand.rows)));
      if (most > rows) {
        other_rows = rows;
        rows = most;
      } else {
        other_rows = std::max(other_rows, most);
      }
      columns = std::max(columns, double(operand.cols));
    }
    work += rows * other_rows * columns;
  }
  return work;
}

bool runnable(const zo2::contract::Program& program) {
  for (int s = 0; s < ZO2_SPACES; s++) {
    if (program.required(s) > kMostSpace) return false;
  }
  return program.ops().size() <= kMostOps && work_of(program) <= kMostWork;
}

// Numbers of every size in the float spaces; in the tables mostly numbers that may name a row.
void fill(const zo2_buffer* buffer, int space, Noise& noise) {
  const auto& memory = World::memory_of(buffer);
  const uint64_t range = uint64_t{1} << (noise.bits() % 6);
  const bool wild = noise.bits() % 8 == 0;
  for (uint64_t at = 0; at + 4 <= memory.bytes; at += 4) {
    const uint32_t bits = static_cast<uint32_t>(noise.bits());
    const int32_t small = static_cast<int32_t>(bits % range) - (bits % 64 == 63 ? 1 : 0);
    const float real = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-31f;
    if (wild) {
      std::memcpy(memory.data + at, &bits, 4);
    } else if (space == ZO2_SPACE_INPUTS) {
      std::memcpy(memory.data + at, &small, 4);
    } else {
      std::memcpy(memory.data + at, &real, 4);
    }
  }
}

struct Run {
  zo2_status status;
  std::vector<uint8_t> bytes;
};

Run run_once(zo2_device* device, const std::vector<double>& input, const zo2_program* program) {
  World world(device);
  const auto& checked = *reinterpret_cast<const zo2::contract::Program*>(program);
  Noise noise(count_of(input[kSeedWord]));
  zo2_run_args args = {};
  args.program = program;
  for (int s = 0; s < ZO2_SPACES; s++) {
    if (!checked.uses(s)) continue;
    args.spaces[s] = {world.buffer(ZO2_BUFFER_DEVICE, checked.required(s)), 0};
    fill(args.spaces[s].buffer, s, noise);
  }
  for (int s = 0; s < ZO2_SYMBOLS; s++) {
    args.symbols[s] = count_of(input[kSymbolWords + static_cast<size_t>(s)]) % (checked.symbol_maximum(s) + 1);
  }
  if (!accepted(table().run(world.stream(), &args, &world.error), world.error))
    violation("an accepted program does not run:", world.error.message);
  const zo2_status status = world.finish();
  return {status, world.contents()};
}

// What a row that is named twice holds is undefined.
bool defined(const zo2::contract::Program& program) {
  return std::none_of(program.ops().begin(), program.ops().end(),
                      [](const auto& op) { return op.opcode == ZO2_OP_SCATTER_ROWS; });
}

// A program and the device that it was made on.
class Made {
 public:
  Made(zo2_device* device, const std::vector<double>& input) {
    uint64_t bytes[ZO2_SPACES];
    for (size_t s = 0; s < ZO2_SPACES; s++) bytes[s] = count_of(input[s]);
    // Copied to its exact size, so that a read past the end is seen.
    const std::vector<double> words(input.begin() + kProgramWords, input.end());
    zo2_error error = {};
    if (!accepted(table().program_create(device, words.data(), words.size(), bytes, &program, &error), error) &&
        program != nullptr) {
      violation("a program that was refused is there:", error.message);
    }
  }
  ~Made() { table().program_destroy(program); }
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;

  zo2_program* program = nullptr;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::vector<double> input = words_of(data, bytes);
  if (input.size() < kProgramWords) return -1;
  const Devices& on = devices(count_of(input[kSeedWord]) % 2 == 1);
  const Made one(on.one, input);
  if (one.program == nullptr) return 0;
  const auto& checked = *reinterpret_cast<const zo2::contract::Program*>(one.program);
  if (!runnable(checked)) return 0;
  const Run first = run_once(on.one, input, one.program);
  const Made three(on.three, input);
  if (three.program == nullptr) violation("a program is accepted by one device and refused by another");
  const Run second = run_once(on.three, input, three.program);
  if (first.status != second.status) violation("another status with three threads");
  if (first.status == ZO2_OK && defined(checked) && first.bytes != second.bytes)
    violation("other bytes with three threads");
  return 0;
}

namespace {

double other_word(double word, Noise& noise) {
  static const double interesting[] = {
      0,    -1,   -2,   -3,    -4,           -5,           -6,           0.5,   1e-5, 1e300, 9007199254740992.0,
      4095, 4096, 8192, 65536, 2147483647.0, 2147483648.0, 4294967296.0, -1e300};
  switch (noise.bits() % 6) {
    case 0:
      return interesting[noise.bits() % (sizeof interesting / sizeof *interesting)];
    case 1:
      return word + double(noise.bits() % 9) - 4;
    case 2:
      return noise.bits() % 32 == 0 ? std::numeric_limits<double>::quiet_NaN() : word * 2;
    case 3:
      return double(64 * (noise.bits() % 64));
    default:
      return double(noise.bits() % 24);
  }
}

// Where the ops of a program begin, and its end; empty when its counts make no sense.
std::vector<size_t> ops_of(const std::vector<double>& words) {
  if (words.size() < kProgramWords + 4) return {};
  const uint64_t operands = count_of(words[kProgramWords + 1]), symbols = count_of(words[kProgramWords + 3]);
  if (operands > words.size() || symbols > words.size()) return {};
  std::vector<size_t> starts;
  size_t at = kProgramWords + 4 + symbols + operands * kOperandWords;
  while (at + 2 <= words.size()) {
    starts.push_back(at);
    at += 2 + std::min<uint64_t>(count_of(words[at + 1]), words.size());
  }
  starts.push_back(std::min(at, words.size()));
  return starts.size() > 1 ? starts : std::vector<size_t>{};
}

void mutate_ops(std::vector<double>& words, Noise& noise) {
  const std::vector<size_t> starts = ops_of(words);
  if (starts.empty()) return;
  const size_t op = noise.bits() % (starts.size() - 1);
  const auto begin = words.begin() + static_cast<long>(starts[op]),
             end = words.begin() + static_cast<long>(starts[op + 1]);
  const std::vector<double> copy(begin, end);
  double& count = words[kProgramWords + 2];
  switch (noise.bits() % 4) {
    case 0:
      count--;
      words.erase(begin, end);
      break;
    case 1:
      count++;
      words.insert(end, copy.begin(), copy.end());
      break;
    case 2: {
      // One more operand: a copy of one that is there, which the op then uses.
      const uint64_t operands = count_of(words[kProgramWords + 1]);
      if (operands == 0 || copy.size() < 3) return;
      const size_t first = kProgramWords + 4 + count_of(words[kProgramWords + 3]);
      const size_t from = first + noise.bits() % operands * kOperandWords;
      const std::vector<double> operand(words.begin() + static_cast<long>(from),
                                        words.begin() + static_cast<long>(from + kOperandWords));
      words[starts[op] + 2 + noise.bits() % std::min<size_t>(5, copy.size() - 2)] = double(operands);
      words[kProgramWords + 1]++;
      words.insert(words.begin() + static_cast<long>(first + operands * kOperandWords), operand.begin(), operand.end());
      break;
    }
    default:
      if (copy.size() > 2) words[starts[op] + 2 + noise.bits() % (copy.size() - 2)] = other_word(copy[2], noise);
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t bytes, size_t most, unsigned int seed) {
  Noise noise(seed);
  std::vector<double> words = words_of(data, bytes);
  if (words.size() < kProgramWords + 4 || noise.bits() % 16 == 0) return LLVMFuzzerMutate(data, bytes, most);
  for (uint64_t left = 1 + noise.bits() % 4; left > 0; left--) {
    if (noise.bits() % 3 == 0) {
      mutate_ops(words, noise);
    } else {
      double& word = words[noise.bits() % words.size()];
      word = other_word(word, noise);
    }
  }
  const size_t length = std::min(words.size() * sizeof(double), most / sizeof(double) * sizeof(double));
  std::memcpy(data, words.data(), length);
  return length;
}
