// One op (or a few) under test: builds the program's words and the memory of its spaces, runs it through the contract's
// table on the backend under test, in every flavour of it, and checks what holds for every op: the same bits whatever
// the number of threads and in every run, and no byte changed outside the rows and columns of what the op writes.
//
// All memory starts as 0xff bytes, NaN in every float dtype, so that an element read from beyond an operand spoils the
// result.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "contract/program.h"
#include "contract/zo2.h"
#include "numerics/rounding.h"
#include "random.h"
#include "rig.h"

namespace zo2::test {

inline const char* dtype_name(zo2_dtype dtype) {
  static const char* const names[] = {"f32", "f16", "bf16", "i32"};
  return names[dtype];
}

// Half a unit in the last place at `value`, as an absolute bound for a result rounded to `dtype`.
inline double half_ulp(zo2_dtype dtype, double value) {
  const double magnitude = std::fabs(value);
  if (dtype == ZO2_F16) return std::fmax(magnitude * 0x1p-11, 0x1p-25);
  if (dtype == ZO2_BF16) return magnitude * 0x1p-8;
  return magnitude * 0x1p-24;
}

class OpCase {
 public:
  explicit OpCase(std::string name) : name_(std::move(name) + (aligned_ ? ", aligned" : "")) { pad(3); }

  // Declares a symbol's maximum and its value in the run.
  void symbol(int number, uint64_t maximum, uint64_t value) {
    maxima_[number] = maximum;
    values_[number] = value;
  }

  // While one lives, operands and all their rows start at multiples of 64 bytes, as a plan of src/memory lays them
  // out, so that kernels may take their paths for whole vectors. Otherwise nothing is aligned to more than its
  // elements.
  class Aligned {
   public:
    Aligned() { aligned_ = true; }
    ~Aligned() { aligned_ = false; }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
  };

  // Rows may be -1 - symbol. `gap`: elements between the end of a row and the next, at least.
  int operand(int space, zo2_dtype dtype, int64_t rows, int64_t cols, int64_t gap = 0) {
    const int64_t size = bytes_of(dtype), most = rows >= 0 ? rows : static_cast<int64_t>(maxima_[-1 - rows]);
    std::vector<uint8_t>& memory = memory_[space];
    // An odd number of elements past a multiple of 64 bytes, so that nothing is aligned by luck.
    const size_t offset = (memory.size() + 63) / 64 * 64 + (aligned_ ? 0 : static_cast<size_t>(3 * size));
    const int64_t unit = aligned_ ? 64 / size : 1, stride = (cols + gap + unit - 1) / unit * unit;
    memory.resize(offset + static_cast<size_t>(most * stride * size) + 64, 0xff);
    operands_.push_back({space, offset, dtype, rows, cols, stride});
    return static_cast<int>(operands_.size()) - 1;
  }

  // Another operand at the place of `of`, moved by `elements`.
  int slice(int of, int64_t elements, int64_t cols) {
    zo2::contract::Operand operand = operands_[static_cast<size_t>(of)];
    operand.offset += static_cast<uint64_t>(elements * bytes_of(operand.dtype));
    operand.cols = cols;
    operands_.push_back(operand);
    return static_cast<int>(operands_.size()) - 1;
  }

  void op(int opcode, const std::vector<double>& words, const std::vector<int>& written) {
    ops_.push_back(opcode);
    ops_.push_back(static_cast<double>(words.size()));
    ops_.insert(ops_.end(), words.begin(), words.end());
    op_count_++;
    written_.insert(written_.end(), written.begin(), written.end());
    const size_t weight = opcode == ZO2_OP_LINEAR ? 2 : opcode == ZO2_OP_CROSS_ENTROPY ? 3 : words.size();
    if (weight < words.size()) product_in_f32_ = product_in_f32_ || dtype(static_cast<int>(words[weight])) == ZO2_F32;
  }

  void set(int operand, int64_t row, int64_t col, double value) {
    const auto& o = operands_[static_cast<size_t>(operand)];
    uint8_t* p = memory_[o.space].data() + o.offset + static_cast<size_t>((row * o.stride + col) * bytes_of(o.dtype));
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

  int64_t rows(int operand) const {
    const int64_t rows = operands_[static_cast<size_t>(operand)].rows;
    return rows >= 0 ? rows : static_cast<int64_t>(values_[-1 - rows]);
  }
  int64_t cols(int operand) const { return operands_[static_cast<size_t>(operand)].cols; }
  zo2_dtype dtype(int operand) const { return operands_[static_cast<size_t>(operand)].dtype; }
  const std::string& name() const { return name_; }

  void randomise(int operand, Random& random, double scale, double center = 0) {
    for (int64_t r = 0; r < rows(operand); r++) {
      for (int64_t c = 0; c < cols(operand); c++) set(operand, r, c, center + scale * random.real());
    }
  }

  std::vector<double> words() const {
    std::vector<double> words = {3, static_cast<double>(operands_.size()), static_cast<double>(op_count_), ZO2_SYMBOLS};
    for (uint64_t maximum : maxima_) words.push_back(static_cast<double>(maximum));
    for (const auto& o : operands_) {
      for (double word : {static_cast<double>(o.space), static_cast<double>(o.offset), static_cast<double>(o.dtype),
                          static_cast<double>(o.rows), static_cast<double>(o.cols), static_cast<double>(o.stride)}) {
        words.push_back(word);
      }
    }
    words.insert(words.end(), ops_.begin(), ops_.end());
    return words;
  }

  void space_bytes(uint64_t bytes[ZO2_SPACES]) const {
    for (int s = 0; s < ZO2_SPACES; s++) bytes[s] = memory_[s].size();
  }

  // Runs in each flavour. verify() is called after the first run of each arithmetic; the runs that follow it must leave
  // the same bits.
  void run(const std::function<void()>& verify) {
    std::copy(std::begin(memory_), std::end(memory_), std::begin(initial_));
    for (const Flavour& flavour : flavours()) {
      flavour_ = flavour;
      std::vector<uint8_t> first[ZO2_SPACES];
      std::copy(std::begin(memory_), std::end(memory_), std::begin(first));
      const zo2_error ended = run_once();
      CHECK(ended.status == ZO2_OK, "%s, %s: status %d, %s", name_.c_str(), flavour.name,
            static_cast<int>(ended.status), ended.message);
      if (ended.status != ZO2_OK) return;
      check_untouched();
      if (!flavour.same_bits) {
        verify();
        continue;
      }
      bool same = true;
      for (int s = 0; s < ZO2_SPACES; s++) same = same && memory_[s] == first[s];
      CHECK(same, "%s, %s: other bits than the run before", name_.c_str(), flavour.name);
    }
  }

  // For a program whose tables are wrong: runs in each flavour, which must poison the stream with a message that has
  // `text`, and write nothing outside of what the ops before the wrong one write.
  void run_refused(const char* text) {
    std::copy(std::begin(memory_), std::end(memory_), std::begin(initial_));
    for (const Flavour& flavour : flavours()) {
      flavour_ = flavour;
      const zo2_error ended = run_once();
      CHECK(ended.status == ZO2_STATUS_INVALID_ARGUMENT && std::strstr(ended.message, text),
            "%s, %s: status %d, \"%s\" should have \"%s\"", name_.c_str(), flavour.name, static_cast<int>(ended.status),
            ended.message, text);
      check_untouched();
    }
  }

  // x(row, k) as a matrix product with `weight` reads it: CUDA rounds an x of another dtype to that of a 16-bit weight
  // first.
  double factor(int x, int weight, int64_t row, int64_t k) const {
    const double value = get(x, row, k);
    if (!on_cuda() || dtype(x) == dtype(weight)) return value;
    const float single = static_cast<float>(value);
    if (dtype(weight) == ZO2_F16) return static_cast<double>(numerics::f16_to_f32(numerics::f32_to_f16(single)));
    if (dtype(weight) == ZO2_BF16) return static_cast<double>(numerics::bf16_to_f32(numerics::f32_to_bf16(single)));
    return value;
  }

  // Relative error of each product of a matrix product with `weight`, before its sum: both factors may have been
  // rounded to tf32, to nearest or towards zero.
  double factor_error(int weight) const { return flavour_.tf32 && dtype(weight) == ZO2_F32 ? 2 * 0x1p-10 : 0; }

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
          flavour_.name, static_cast<long long>(worst_row), static_cast<long long>(worst_col), worst_want, worst);
  }

 private:
  static constexpr size_t kGuard = 256;

  static int64_t bytes_of(zo2_dtype dtype) { return dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 4; }

  void pad(size_t bytes) {
    for (auto& memory : memory_) memory.resize(bytes, 0xff);
  }

  double decode(const std::vector<uint8_t>* memory, int operand, int64_t row, int64_t col) const {
    const auto& o = operands_[static_cast<size_t>(operand)];
    const uint8_t* p =
        memory[o.space].data() + o.offset + static_cast<size_t>((row * o.stride + col) * bytes_of(o.dtype));
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

  // One way to run the program on a device of the backend under test. `same_bits`: the result is that of the run
  // before, bit for bit.
  struct Flavour {
    const char* name = "";
    bool same_bits = false;
    bool tf32 = false;
    zo2_device_options options = {};
  };

  std::vector<Flavour> flavours() const {
    const auto flavour = [](const char* name, bool same_bits, uint32_t threads, uint32_t generic, uint32_t tf32) {
      Flavour one;
      one.name = name;
      one.same_bits = same_bits;
      one.tf32 = tf32 != 0;
      one.options.threads = threads;
      one.options.generic_kernels = generic;
      one.options.tf32 = tf32;
      return one;
    };
    if (!on_cuda()) {
      return {flavour("generic, 1 thread", false, 1, 1, 0), flavour("generic, 3 threads", true, 3, 1, 0),
              flavour("1 thread", false, 1, 0, 0), flavour("3 threads", true, 3, 0, 0)};
    }
    std::vector<Flavour> all = {flavour("cuda", false, 0, 0, 0), flavour("cuda again", true, 0, 0, 0)};
    if (product_in_f32_) {
      all.push_back(flavour("cuda, tf32", false, 0, 0, 1));
      all.push_back(flavour("cuda, tf32 again", true, 0, 0, 1));
    }
    return all;
  }

  // Every space in a buffer of its own between two guards, on a device of its own. What ended the stream; memory_ is
  // what was left there.
  zo2_error run_once() {
    Rig rig(flavour_.options);
    zo2_stream* const stream = rig.stream("op case");
    uint64_t bytes[ZO2_SPACES];
    space_bytes(bytes);
    zo2_run_args args = {};
    args.program = rig.program(words(), bytes);
    if (args.program == nullptr) return rig.error;
    for (int s = 0; s < ZO2_SPACES; s++) {
      std::vector<uint8_t> guarded(initial_[s].size() + 2 * kGuard, 0xa5);
      std::copy(initial_[s].begin(), initial_[s].end(), guarded.begin() + kGuard);
      args.spaces[s] = {rig.on_device(stream, guarded), kGuard};
    }
    std::copy(std::begin(values_), std::end(values_), args.symbols);
    rig.launched(rig.table->run(stream, &args, &rig.error));
    const zo2_error ended = rig.finish(stream);
    // A poisoned stream runs nothing any more: another one reads.
    zo2_stream* const reader = rig.stream("reader");
    for (int s = 0; s < ZO2_SPACES; s++) {
      const std::vector<uint8_t> guarded =
          rig.read<uint8_t>(reader, args.spaces[s].buffer, initial_[s].size() + 2 * kGuard);
      bool intact = true;
      for (size_t i = 0; i < kGuard; i++)
        intact = intact && guarded[i] == 0xa5 && guarded[guarded.size() - 1 - i] == 0xa5;
      CHECK(intact, "%s, %s: bytes outside of space %d changed", name_.c_str(), flavour_.name, s);
      memory_[s].assign(guarded.begin() + kGuard, guarded.end() - kGuard);
    }
    return ended;
  }

  void check_untouched() {
    std::vector<uint8_t> expected[ZO2_SPACES];
    std::copy(std::begin(initial_), std::end(initial_), std::begin(expected));
    for (int operand : written_) {
      const auto& o = operands_[static_cast<size_t>(operand)];
      for (int64_t r = 0; r < rows(operand); r++) {
        const size_t start = o.offset + static_cast<size_t>(r * o.stride * bytes_of(o.dtype)),
                     bytes = static_cast<size_t>(o.cols * bytes_of(o.dtype));
        std::memcpy(expected[o.space].data() + start, memory_[o.space].data() + start, bytes);
      }
    }
    bool same = true;
    for (int s = 0; s < ZO2_SPACES; s++) same = same && memory_[s] == expected[s];
    CHECK(same, "%s, %s: bytes outside the written operands changed", name_.c_str(), flavour_.name);
  }

  static inline bool aligned_ = false;

  std::string name_;
  Flavour flavour_;
  uint64_t maxima_[ZO2_SYMBOLS] = {};
  uint64_t values_[ZO2_SYMBOLS] = {};
  std::vector<uint8_t> memory_[ZO2_SPACES], initial_[ZO2_SPACES];
  std::vector<zo2::contract::Operand> operands_;
  std::vector<double> ops_;
  uint64_t op_count_ = 0;
  bool product_in_f32_ = false;
  std::vector<int> written_;
};

}  // namespace zo2::test
