// One op (or a few) under test: builds the program's words and the memory of its spaces, runs it in every flavour and with several thread
// counts, and checks what holds for every op: the same bits whatever the number of threads, and no byte changed outside the rows and
// columns of what the op writes.
//
// All memory starts as 0xff bytes, NaN in every float dtype, so that an element read from beyond an operand spoils the result.
#ifndef ZO2_TEST_OP_CASE_H
#define ZO2_TEST_OP_CASE_H

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/cpu_features.h"
#include "cpu/pool.h"
#include "cpu/program_run.h"
#include "numerics/rounding.h"
#include "zo2.h"

namespace zo2::test {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t limit) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(limit)); }
  // In [-1, 1).
  double real() { return static_cast<double>(static_cast<int64_t>(bits())) * 0x1p-63; }

 private:
  uint64_t state_;
};

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
  explicit OpCase(std::string name) : name_(std::move(name)) { pad(3); }

  // Declares a symbol's maximum and its value in the run.
  void symbol(int number, uint64_t maximum, uint64_t value) {
    maxima_[number] = maximum;
    values_[number] = value;
  }

  // Rows may be -1 - symbol. `gap`: elements between the end of a row and the next.
  int operand(int space, zo2_dtype dtype, int64_t rows, int64_t cols, int64_t gap = 0) {
    const int64_t size = bytes_of(dtype), most = rows >= 0 ? rows : static_cast<int64_t>(maxima_[-1 - rows]);
    std::vector<uint8_t>& memory = memory_[space];
    // An odd number of elements past the last operand, so that nothing is aligned by luck.
    const size_t offset = (memory.size() + 63) / 64 * 64 + static_cast<size_t>(3 * size);
    const int64_t stride = cols + gap;
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
    std::vector<double> words = {1, static_cast<double>(operands_.size()), static_cast<double>(op_count_), ZO2_SYMBOLS};
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

  // Runs in each flavour with one and with three threads, and calls verify() after each flavour.
  void run(const std::function<void()>& verify) {
    uint64_t bytes[ZO2_SPACES];
    space_bytes(bytes);
    const std::vector<double> words = this->words();
    const contract::Program program(nullptr, words.data(), words.size(), bytes);
    std::copy(std::begin(memory_), std::end(memory_), std::begin(initial_));
    for (bool vectorised : {false, true}) {
      if (vectorised && !cpu::has_avx2_fma_f16c()) continue;
      flavour_ = vectorised ? "avx2" : "generic";
      run_once(program, pool_of(1), vectorised);
      std::vector<uint8_t> alone[ZO2_SPACES];
      std::copy(std::begin(memory_), std::end(memory_), std::begin(alone));
      check_untouched();
      verify();
      run_once(program, pool_of(3), vectorised);
      bool same = true;
      for (int s = 0; s < ZO2_SPACES; s++) same = same && memory_[s] == alone[s];
      CHECK(same, "%s, %s: three threads give other bits than one", name_.c_str(), flavour_);
    }
  }

  // |got - expected| <= bound for every element of an operand, given the reference's value and the bound of its fp32 arithmetic.
  void expect(int operand, const std::function<double(int64_t, int64_t)>& expected, const std::function<double(int64_t, int64_t)>& bound) {
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
    CHECK(worst <= 1, "%s, %s: element (%lld, %lld) should be %.9g; off by %.3g times what is allowed", name_.c_str(), flavour_,
          static_cast<long long>(worst_row), static_cast<long long>(worst_col), worst_want, worst);
  }

 private:
  static int64_t bytes_of(zo2_dtype dtype) { return dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 4; }

  static cpu::ThreadPool& pool_of(unsigned threads) {
    static cpu::ThreadPool one(1), three(3);
    return threads == 1 ? one : three;
  }

  void pad(size_t bytes) {
    for (auto& memory : memory_) memory.resize(bytes, 0xff);
  }

  double decode(const std::vector<uint8_t>* memory, int operand, int64_t row, int64_t col) const {
    const auto& o = operands_[static_cast<size_t>(operand)];
    const uint8_t* p = memory[o.space].data() + o.offset + static_cast<size_t>((row * o.stride + col) * bytes_of(o.dtype));
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

  void run_once(const contract::Program& program, cpu::ThreadPool& pool, bool vectorised) {
    std::copy(std::begin(initial_), std::end(initial_), std::begin(memory_));
    uint8_t* spaces[ZO2_SPACES];
    for (int s = 0; s < ZO2_SPACES; s++) spaces[s] = memory_[s].data();
    cpu::run_program(program, spaces, values_, pool, vectorised);
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
    CHECK(same, "%s, %s: bytes outside the written operands changed", name_.c_str(), flavour_);
  }

  std::string name_;
  const char* flavour_ = "";
  uint64_t maxima_[ZO2_SYMBOLS] = {};
  uint64_t values_[ZO2_SYMBOLS] = {};
  std::vector<uint8_t> memory_[ZO2_SPACES], initial_[ZO2_SPACES];
  std::vector<zo2::contract::Operand> operands_;
  std::vector<double> ops_;
  uint64_t op_count_ = 0;
  std::vector<int> written_;
};

}  // namespace zo2::test

#endif  // ZO2_TEST_OP_CASE_H
