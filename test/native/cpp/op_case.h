// One op (or a few) under test: builds the memory of its spaces and the words of its program, runs it in several ways,
// and checks what holds for every op: the same bits whatever the number of threads and in every run, and no byte
// changed outside the rows and columns of what the op writes.
//
// The ways are those of the contract, on the backend under test, or kernels one by one (op_kernels.h). Cases are stated
// once, in *_cases.h, for whatever runs them.
//
// All memory starts as 0xff bytes, NaN in every float dtype, so that an element read from beyond an operand spoils the
// result.
#pragma once

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "contract/dtype.h"
#include "contract/names.h"
#include "contract/program.h"
#include "contract/zo2.h"
#include "numerics/rounding.h"
#include "random.h"
#include "rig.h"

namespace zo2::test {

inline const char* dtype_name(zo2_dtype dtype) { return contract::kDtypeNames[dtype]; }

// The name of a case.
inline std::string label(const char* op, int64_t m, int64_t n, int64_t k, zo2_dtype a, zo2_dtype b) {
  char text[160];
  snprintf(text, sizeof text, "%s %lld x %lld x %lld, %s from %s", op, static_cast<long long>(m),
           static_cast<long long>(n), static_cast<long long>(k), dtype_name(a), dtype_name(b));
  return text;
}

// Half a unit in the last place at `value`, as an absolute bound for a result rounded to `dtype`.
inline double half_ulp(zo2_dtype dtype, double value) {
  const double magnitude = std::fabs(value);
  if (dtype == ZO2_F16) return std::fmax(magnitude * 0x1p-11, 0x1p-25);
  if (dtype == ZO2_BF16) return magnitude * 0x1p-8;
  return magnitude * 0x1p-24;
}

inline float rounded_to(zo2_dtype dtype, float x) {
  if (dtype == ZO2_F16) return numerics::f16_to_f32(numerics::f32_to_f16(x));
  if (dtype == ZO2_BF16) return numerics::bf16_to_f32(numerics::f32_to_bf16(x));
  return x;
}

// To 10 bits of mantissa, ties away from zero.
inline float rounded_to_tf32(float x) {
  return numerics::bits_float((numerics::float_bits(x) + 0x1000u) & 0xffffe000u);
}

class OpCase {
 public:
  using Spaces = std::array<std::vector<uint8_t>, ZO2_SPACES>;

  struct Op {
    int opcode;
    std::vector<double> words;
  };

  // One way to run the ops.
  struct Way {
    std::string name;
    bool same_bits = false;  // the result is that of the way before, bit for bit
    // By kernels of cuda/, whose products round x to the dtype of a 16-bit weight.
    bool cuda = false;
    // What else is rounded besides the result: the factors of a product with an fp32 weight to tf32, the weights of the
    // softmax to a 16-bit dtype of q.
    bool tf32 = false;
    bool rounds_softmax = false;
    double tf32_error = 0;  // relative, of a product in tf32: factors may be rounded towards zero instead of to nearest
    // Runs the ops once on a copy of the memory, which afterwards is what they left; how that ended.
    std::function<zo2_error(Spaces&)> run;
  };

  explicit OpCase(std::string name)
      : name_(std::move(name) + (alignment_ != 0 ? ", aligned to " + std::to_string(alignment_) : "")) {
    for (auto& memory : memory_) memory.resize(3, 0xff);
  }

  // Declares a symbol's maximum and its value in the run.
  void symbol(int number, uint64_t maximum, uint64_t value) {
    maxima_[number] = maximum;
    values_[number] = value;
  }

  // While one lives, operands start at multiples of 64 bytes, as a plan of src/memory lays them out, and all their
  // rows at multiples of `bytes`, so that kernels may take their paths for whole vectors. Otherwise nothing is aligned
  // to more than its elements.
  class Aligned {
   public:
    explicit Aligned(int64_t bytes = 64) { alignment_ = bytes; }
    ~Aligned() { alignment_ = 0; }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
  };

  // Rows may be -1 - symbol. `gap`: elements between the end of a row and the next, at least. `odd`: not aligned, even
  // while Aligned lives.
  int operand(int space, zo2_dtype dtype, int64_t rows, int64_t cols, int64_t gap = 0, bool odd = false) {
    const int64_t size = bytes_of(dtype), most = rows >= 0 ? rows : static_cast<int64_t>(maxima_[-1 - rows]);
    const int64_t alignment = odd ? 0 : alignment_;
    std::vector<uint8_t>& memory = memory_[static_cast<size_t>(space)];
    // An odd number of elements past a multiple of 64 bytes, so that nothing is aligned by luck.
    const size_t offset = (memory.size() + 63) / 64 * 64 + (alignment != 0 ? 0 : static_cast<size_t>(3 * size));
    const int64_t unit = alignment != 0 ? alignment / size : 1, stride = (cols + gap + unit - 1) / unit * unit;
    memory.resize(offset + static_cast<size_t>(most * stride * size) + 64, 0xff);
    operands_.push_back({space, offset, dtype, rows, cols, stride});
    return static_cast<int>(operands_.size()) - 1;
  }

  // Another operand at the place of `of`, moved by `elements`.
  int slice(int of, int64_t elements, int64_t cols) {
    contract::Operand operand = at(of);
    operand.offset += static_cast<uint64_t>(elements * bytes_of(operand.dtype));
    operand.cols = cols;
    operands_.push_back(operand);
    return static_cast<int>(operands_.size()) - 1;
  }

  void op(int opcode, const std::vector<double>& words, const std::vector<int>& written) {
    ops_.push_back({opcode, words});
    written_.insert(written_.end(), written.begin(), written.end());
    const size_t weight = opcode == ZO2_OP_LINEAR ? 2 : opcode == ZO2_OP_CROSS_ENTROPY ? 3 : words.size();
    if (weight < words.size()) product_in_f32_ = product_in_f32_ || dtype(static_cast<int>(words[weight])) == ZO2_F32;
  }

  void set(int operand, int64_t row, int64_t col, double value) {
    const contract::Operand& o = at(operand);
    uint8_t* const p = memory_[static_cast<size_t>(o.space)].data() + place(o, row, col);
    const float single = static_cast<float>(value);
    const int32_t integer = o.dtype == ZO2_I32 ? static_cast<int32_t>(value) : 0;
    const uint16_t half = o.dtype == ZO2_F16 ? numerics::f32_to_f16(single) : numerics::f32_to_bf16(single);
    if (o.dtype == ZO2_F32)
      std::memcpy(p, &single, 4);
    else if (o.dtype == ZO2_I32)
      std::memcpy(p, &integer, 4);
    else
      std::memcpy(p, &half, 2);
  }

  double get(int operand, int64_t row, int64_t col) const { return decode(memory_, operand, row, col); }
  // The value before the run.
  double before(int operand, int64_t row, int64_t col) const { return decode(initial_, operand, row, col); }

  std::vector<double> all_before(int operand) const {
    std::vector<double> all;
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t c = 0; c < cols(operand); c++) all.push_back(before(operand, r, c));
    }
    return all;
  }

  const contract::Operand& at(int operand) const { return operands_[static_cast<size_t>(operand)]; }
  const std::vector<contract::Operand>& operands() const { return operands_; }
  const std::vector<Op>& ops() const { return ops_; }
  int64_t rows(int operand) const {
    const int64_t rows = at(operand).rows;
    return rows >= 0 ? rows : static_cast<int64_t>(values_[-1 - rows]);
  }
  int64_t cols(int operand) const { return at(operand).cols; }
  zo2_dtype dtype(int operand) const { return at(operand).dtype; }
  const std::string& name() const { return name_; }
  // Under way, inside verify().
  const Way& way() const { return way_; }

  void randomise(int operand, Random& random, double scale, double center = 0) {
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t c = 0; c < cols(operand); c++) set(operand, r, c, center + scale * random.real());
    }
  }

  std::vector<double> words() const {
    std::vector<double> words = {4, static_cast<double>(operands_.size()), static_cast<double>(ops_.size()),
                                 ZO2_SYMBOLS};
    for (uint64_t maximum : maxima_) words.push_back(static_cast<double>(maximum));
    for (const auto& o : operands_) {
      for (double word : {static_cast<double>(o.space), static_cast<double>(o.offset), static_cast<double>(o.dtype),
                          static_cast<double>(o.rows), static_cast<double>(o.cols), static_cast<double>(o.stride)}) {
        words.push_back(word);
      }
    }
    for (const Op& op : ops_) {
      words.push_back(op.opcode);
      words.push_back(static_cast<double>(op.words.size()));
      words.insert(words.end(), op.words.begin(), op.words.end());
    }
    return words;
  }

  void space_bytes(uint64_t bytes[ZO2_SPACES]) const {
    for (size_t s = 0; s < ZO2_SPACES; s++) bytes[s] = memory_[s].size();
  }

  // Runs in every way. verify() is called after the first run of each arithmetic; the runs that follow it must leave
  // the same bits.
  void run(const std::vector<Way>& ways, const std::function<void()>& verify) {
    initial_ = memory_;
    for (const Way& way : ways) {
      way_ = way;
      const Spaces last = memory_;
      memory_ = initial_;
      const zo2_error ended = way.run(memory_);
      CHECK(ended.status == ZO2_OK, "%s, %s: status %d, %s", name_.c_str(), way.name.c_str(),
            static_cast<int>(ended.status), ended.message);
      if (ended.status != ZO2_OK) return;
      check_untouched();
      if (way.same_bits) {
        CHECK(memory_ == last, "%s, %s: other bits than the run before", name_.c_str(), way.name.c_str());
      } else {
        verify();
      }
    }
  }

  // For ops that must not run: nothing changes, in any way.
  void run_skipped(const std::vector<Way>& ways) {
    initial_ = memory_;
    for (const Way& way : ways) {
      memory_ = initial_;
      const zo2_error ended = way.run(memory_);
      CHECK(ended.status == ZO2_OK, "%s, %s: status %d, %s", name_.c_str(), way.name.c_str(),
            static_cast<int>(ended.status), ended.message);
      CHECK(memory_ == initial_, "%s, %s: it wrote", name_.c_str(), way.name.c_str());
    }
  }

  // For a program whose tables are wrong: runs it through the contract, which must poison the stream with a message
  // that has `text`, and write nothing outside of what the ops before the wrong one write.
  void run_refused(const char* text) {
    initial_ = memory_;
    for (const Way& way : contract_ways()) {
      way_ = way;
      memory_ = initial_;
      const zo2_error ended = way.run(memory_);
      CHECK(ended.status == ZO2_STATUS_INVALID_ARGUMENT && std::strstr(ended.message, text),
            "%s, %s: status %d, \"%s\" should have \"%s\"", name_.c_str(), way.name.c_str(),
            static_cast<int>(ended.status), ended.message, text);
      check_untouched();
    }
  }

  // Through the contract's table, on the backend under test, in every flavour of it.
  std::vector<Way> contract_ways() const {
    const auto way = [this](const char* name, bool same_bits, uint32_t threads, uint32_t generic, uint32_t tf32) {
      zo2_device_options options = {};
      options.threads = threads;
      options.generic_kernels = generic;
      options.tf32 = tf32;
      Way one;
      one.name = name;
      one.same_bits = same_bits;
      one.cuda = one.rounds_softmax = on_cuda();
      one.tf32 = tf32 != 0;
      one.tf32_error = 2 * 0x1p-10;
      one.run = [this, options](Spaces& memory) { return run_through_contract(options, memory); };
      return one;
    };
    if (!on_cuda()) {
      return {way("generic, 1 thread", false, 1, 1, 0), way("generic, 3 threads", true, 3, 1, 0),
              way("1 thread", false, 1, 0, 0), way("3 threads", true, 3, 0, 0)};
    }
    std::vector<Way> all = {way("cuda", false, 0, 0, 0), way("cuda again", true, 0, 0, 0)};
    if (product_in_f32_) {
      all.push_back(way("cuda, tf32", false, 0, 0, 1));
      all.push_back(way("cuda, tf32 again", true, 0, 0, 1));
    }
    return all;
  }

  // Element (row, k) of an operand as a matrix product with `weight`, which may be that operand, multiplies it.
  double factor(int operand, int weight, int64_t row, int64_t k) const {
    const float value = static_cast<float>(get(operand, row, k));
    if (dtype(weight) == ZO2_F32) return static_cast<double>(way_.tf32 ? rounded_to_tf32(value) : value);
    return static_cast<double>(way_.cuda ? rounded_to(dtype(weight), value) : value);
  }

  // All of them, row after row.
  std::vector<double> factors(int operand, int weight) const {
    std::vector<double> all;
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t k = 0; k < cols(operand); k++) all.push_back(factor(operand, weight, r, k));
    }
    return all;
  }

  // Relative error of each product of a matrix product with `weight`, before its sum.
  double factor_error(int weight) const { return way_.tf32 && dtype(weight) == ZO2_F32 ? way_.tf32_error : 0; }

  // |got - expected| <= bound for every element of an operand, given the reference's value and the bound of its fp32
  // arithmetic.
  void expect(int operand, const std::function<double(int64_t, int64_t)>& expected,
              const std::function<double(int64_t, int64_t)>& bound) {
    double worst = 0, worst_want = 0;
    int64_t worst_row = 0, worst_col = 0;
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t c = 0; c < cols(operand); c++) {
        const double want = expected(r, c), got = get(operand, r, c);
        double ratio = std::fabs(got - want) / (bound(r, c) + half_ulp(dtype(operand), want) * 1.01);
        if (got == want || (std::isnan(want) && std::isnan(got))) ratio = 0;
        // A NaN on one side only must not pass as "not larger".
        else if (std::isnan(ratio))
          ratio = std::numeric_limits<double>::infinity();
        if (ratio <= worst) continue;
        worst = ratio;
        worst_want = want;
        worst_row = r;
        worst_col = c;
      }
    }
    CHECK(worst <= 1, "%s, %s: element (%lld, %lld) should be %.9g; off by %.3g times what is allowed", name_.c_str(),
          way_.name.c_str(), static_cast<long long>(worst_row), static_cast<long long>(worst_col), worst_want, worst);
  }

  // Every element is the reference's value, which fp32 holds, rounded once to the operand's dtype.
  void expect_exact(int operand, const std::function<double(int64_t, int64_t)>& expected) {
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t c = 0; c < cols(operand); c++) {
        const float want = rounded_to(dtype(operand), static_cast<float>(expected(r, c)));
        if (!CHECK(get(operand, r, c) == static_cast<double>(want), "%s, %s: element (%lld, %lld) is %.9g, not %.9g",
                   name_.c_str(), way_.name.c_str(), static_cast<long long>(r), static_cast<long long>(c),
                   get(operand, r, c), static_cast<double>(want))) {
          return;
        }
      }
    }
  }

 private:
  static constexpr size_t kGuard = 256;

  static int64_t bytes_of(zo2_dtype dtype) { return static_cast<int64_t>(contract::dtype_bytes(dtype)); }

  static size_t place(const contract::Operand& o, int64_t row, int64_t col) {
    return o.offset + static_cast<size_t>((row * o.stride + col) * bytes_of(o.dtype));
  }

  double decode(const Spaces& memory, int operand, int64_t row, int64_t col) const {
    const contract::Operand& o = at(operand);
    const uint8_t* const p = memory[static_cast<size_t>(o.space)].data() + place(o, row, col);
    float single;
    int32_t integer;
    uint16_t half;
    std::memcpy(&half, p, 2);
    if (o.dtype == ZO2_F16) {
      const int exponent = half >> 10 & 31, mantissa = half & 1023, sign = half >> 15 ? -1 : 1;
      if (exponent == 31) return mantissa ? std::nan("") : sign * HUGE_VAL;
      return sign * std::ldexp(exponent ? 1024 + mantissa : mantissa, (exponent ? exponent : 1) - 25);
    }
    if (o.dtype == ZO2_BF16) {
      const int exponent = half >> 7 & 255, mantissa = half & 127, sign = half >> 15 ? -1 : 1;
      if (exponent == 255) return mantissa ? std::nan("") : sign * HUGE_VAL;
      return sign * std::ldexp(exponent ? 128 + mantissa : mantissa, (exponent ? exponent : 1) - 134);
    }
    std::memcpy(&single, p, 4);
    std::memcpy(&integer, p, 4);
    return o.dtype == ZO2_I32 ? integer : static_cast<double>(single);
  }

  // Every space in a buffer of its own between two guards, on a device of its own.
  zo2_error run_through_contract(const zo2_device_options& options, Spaces& memory) const {
    Rig rig(options);
    zo2_stream* const stream = rig.stream("op case");
    uint64_t bytes[ZO2_SPACES];
    space_bytes(bytes);
    zo2_run_args args = {};
    args.program = rig.program(words(), bytes);
    if (args.program == nullptr) return rig.error;
    for (size_t s = 0; s < ZO2_SPACES; s++) {
      std::vector<uint8_t> guarded(memory[s].size() + 2 * kGuard, 0xa5);
      std::copy(memory[s].begin(), memory[s].end(), guarded.begin() + kGuard);
      args.spaces[s] = {rig.on_device(stream, guarded), kGuard};
    }
    std::copy(std::begin(values_), std::end(values_), args.symbols);
    rig.launched(rig.table->run(stream, &args, &rig.error));
    const zo2_error ended = rig.finish(stream);
    // A poisoned stream runs nothing any more: another one reads.
    zo2_stream* const reader = rig.stream("reader");
    for (size_t s = 0; s < ZO2_SPACES; s++) {
      const std::vector<uint8_t> guarded =
          rig.read<uint8_t>(reader, args.spaces[s].buffer, memory[s].size() + 2 * kGuard);
      bool intact = true;
      for (size_t i = 0; i < kGuard; i++)
        intact = intact && guarded[i] == 0xa5 && guarded[guarded.size() - 1 - i] == 0xa5;
      CHECK(intact, "%s, %s: bytes outside of space %zu changed", name_.c_str(), way_.name.c_str(), s);
      memory[s].assign(guarded.begin() + kGuard, guarded.end() - kGuard);
    }
    return ended;
  }

  void check_untouched() {
    Spaces expected = initial_;
    for (int operand : written_) {
      const contract::Operand& o = at(operand);
      const auto space = static_cast<size_t>(o.space);
      for (int64_t r = 0; r < rows(operand); r++) {
        const size_t start = place(o, r, 0), bytes = static_cast<size_t>(o.cols * bytes_of(o.dtype));
        std::memcpy(expected[space].data() + start, memory_[space].data() + start, bytes);
      }
    }
    CHECK(memory_ == expected, "%s, %s: bytes outside the written operands changed", name_.c_str(), way_.name.c_str());
  }

  static inline int64_t alignment_ = 0;  // bytes; 0: of the elements

  std::string name_;
  Way way_;
  uint64_t maxima_[ZO2_SYMBOLS] = {};
  uint64_t values_[ZO2_SYMBOLS] = {};
  Spaces memory_, initial_;
  std::vector<contract::Operand> operands_;
  std::vector<Op> ops_;
  bool product_in_f32_ = false;
  std::vector<int> written_;
};

// Runs a case in ways of its own, with the checks of its result.
using Runner = std::function<void(OpCase&, const std::function<void()>& verify)>;

inline void through_contract(OpCase& test, const std::function<void()>& verify) {
  test.run(test.contract_ways(), verify);
}

}  // namespace zo2::test
