// The attention kernels, on tensor cores and in fp32, against a naive double-precision reference that holds a whole row
// of scores.
#include "cuda_matrix.h"

#include "cuda/ops/attention_mma.cuh"
#include "cuda/ops/attention_simt.cuh"

namespace {

using zo2::cuda::AttentionArgs;
using zo2::cuda::Matrix;
using zo2::test::check_values;
using zo2::test::DeviceMatrix;
using zo2::test::Launcher;
using zo2::test::name_of;
using zo2::test::Numbers;
using zo2::test::rounding_of;

struct Sequence {
  int64_t start, length, prefix_start, prefix_length;
  int64_t key_start = 0;  // with key_rows
};

enum class Path { kMma, kSimt };

struct Case {
  const char* name;
  Path path;  // that launch_attention is to take
  zo2_dtype dtype;
  int64_t rows, heads, kv_heads, width;
  std::vector<Sequence> sequences;
  int64_t window = 0;
  zo2_dtype out_dtype = ZO2_F32;
  int64_t pad = 0, out_pad = 0, key_pad = -1;  // key_pad -1: as pad
  bool in_place = false;
  bool fused = false;             // q, k and v are slices of one matrix
  double size = 1;                // of q and k
  double scale = 0;               // 0: 1 / sqrt(width)
  zo2_dtype key_dtype = ZO2_I32;  // I32: as dtype
  int64_t key_rows = 0;           // of k and v, in a table of five columns; 0: as q, and four
};

class Test {
 public:
  explicit Test(const Case& c)
      : c_(c),
        what_(std::string("attention: ") + c.name + ", heads of " + std::to_string(c.width) + ", " + name_of(c.dtype) +
              " to " + name_of(c.in_place ? c.dtype : c.out_dtype)),
        q_(c.dtype, c.rows, q_cols() + (c.fused ? 2 * kv_cols() : 0), c.pad),
        k_(key_dtype(), key_rows(), kv_cols(), c.key_pad < 0 ? c.pad : c.key_pad),
        v_(key_dtype(), key_rows(), kv_cols(), c.key_pad < 0 ? c.pad : c.key_pad),
        out_(c.out_dtype, c.rows, q_cols(), c.out_pad),
        again_(c.out_dtype, c.rows, q_cols(), c.out_pad),
        table_(ZO2_I32, int64_t(c.sequences.size()), c.key_rows > 0 ? 5 : 4, 1) {}

  void run() {
    if (!k_.memory_ok() || !v_.memory_ok()) {
      printf("%s: skipped, no memory for its gaps\n", what_.c_str());
      return;
    }
    prepare();
    AttentionArgs args = {
        c_.in_place ? q_.view() : out_.view(), q(),      k(), v(), table_.view(), c_.heads, c_.kv_heads,
        static_cast<float>(scale()),           c_.window};
    CHECK(zo2::cuda::attention_unsupported(args) == nullptr, "%s", what_.c_str());
    CHECK(zo2::cuda::attention_mma_accepts(args) == (c_.path == Path::kMma), "%s: takes the other path", what_.c_str());
    launcher_.finish(launch_attention(launcher_.launch(), args), what_.c_str());
    if (c_.in_place) {
      q_.download();
      check(q_, c_.path);
      return;
    }
    out_.download();
    check(out_, c_.path);
    args.out = again_.view();
    launcher_.finish(launch_attention(launcher_.launch(), args), what_.c_str());
    again_.download();
    CHECK(again_.same_bytes(out_), "%s: other bits the second time", what_.c_str());
    if (c_.path == Path::kSimt) return;
    // What the tensor cores take, fp32 takes too.
    launcher_.finish(launch_attention_simt(launcher_.launch(), args), what_.c_str());
    again_.download();
    check(again_, Path::kSimt);
  }

 private:
  int64_t q_cols() const { return c_.heads * c_.width; }
  int64_t kv_cols() const { return c_.kv_heads * c_.width; }
  int64_t key_rows() const { return c_.key_rows > 0 ? c_.key_rows : c_.rows; }
  int64_t key_start(const Sequence& s) const { return c_.key_rows > 0 ? s.key_start : s.start; }
  zo2_dtype key_dtype() const { return c_.key_dtype == ZO2_I32 ? c_.dtype : c_.key_dtype; }
  double scale() const { return c_.scale != 0 ? c_.scale : 1 / std::sqrt(double(c_.width)); }
  Matrix q() const { return q_.slice(0, q_cols()); }
  Matrix k() const { return c_.fused ? q_.slice(q_cols(), kv_cols()) : k_.view(); }
  Matrix v() const { return c_.fused ? q_.slice(q_cols() + kv_cols(), kv_cols()) : v_.view(); }
  double key(int64_t row, int64_t col) const { return c_.fused ? q_.before(row, q_cols() + col) : k_.before(row, col); }
  double value(int64_t row, int64_t col) const {
    return c_.fused ? q_.before(row, q_cols() + kv_cols() + col) : v_.before(row, col);
  }

  void prepare() {
    Numbers numbers(static_cast<uint64_t>(c_.rows * 31 + c_.width));
    q_.randomise(numbers, c_.size);
    k_.randomise(numbers, c_.size);
    v_.randomise(numbers);
    out_.randomise(numbers);
    for (int64_t r = 0; r < c_.rows; r++) {
      for (int64_t col = 0; col < q_cols(); col++) again_.set(r, col, out_.get(r, col));
    }
    for (size_t s = 0; s < c_.sequences.size(); s++) {
      const Sequence& sequence = c_.sequences[s];
      const int64_t words[] = {sequence.start, sequence.length, sequence.prefix_start, sequence.prefix_length,
                               sequence.key_start};
      for (int64_t i = 0; i < (c_.key_rows > 0 ? 5 : 4); i++) table_.set(int64_t(s), i, double(words[i]));
    }
    for (DeviceMatrix* m : {&q_, &k_, &v_, &out_, &again_, &table_}) m->upload();
    DeviceMatrix& target = c_.in_place ? q_ : out_;
    expected_.resize(static_cast<size_t>(c_.rows * q_cols()));
    for (int64_t r = 0; r < c_.rows; r++) {
      for (int64_t col = 0; col < q_cols(); col++) expected_[size_t(r * q_cols() + col)] = target.before(r, col);
    }
    for (const Sequence& s : c_.sequences) {
      for (int64_t i = 0; i < s.length; i++) {
        for (int64_t h = 0; h < c_.heads; h++) reference(s, i, h);
      }
    }
  }

  void reference(const Sequence& s, int64_t i, int64_t head) {
    const int64_t position = s.prefix_length + i, column = head / (c_.heads / c_.kv_heads) * c_.width;
    std::vector<int64_t> rows;
    std::vector<double> weights;
    double largest = -HUGE_VAL, sum = 0;
    for (int64_t p = c_.window > 0 ? std::max<int64_t>(0, position - c_.window + 1) : 0; p <= position; p++) {
      const int64_t row = p < s.prefix_length ? s.prefix_start + p : key_start(s) + p - s.prefix_length;
      double score = 0;
      for (int64_t d = 0; d < c_.width; d++)
        score += q_.before(s.start + i, head * c_.width + d) * key(row, column + d);
      rows.push_back(row);
      weights.push_back(score * scale());
      largest = std::max(largest, weights.back());
    }
    for (double& w : weights) sum += w = std::exp(w - largest);
    for (int64_t d = 0; d < c_.width; d++) {
      double total = 0;
      for (size_t j = 0; j < rows.size(); j++) total += weights[j] / sum * value(rows[j], column + d);
      expected_[size_t((s.start + i) * q_cols() + head * c_.width + d)] = total;
    }
  }

  // Values are at most 1. A score of size s carries an fp32 error of about s 2^-22, which the exponential turns into a
  // relative one; on tensor cores each weight is rounded to the dtype besides.
  void check(const DeviceMatrix& out, Path path) {
    const double score = c_.size * c_.size * double(c_.width) * std::fabs(scale());
    const double weights = path == Path::kMma ? 1.01 * rounding_of(c_.dtype) : 0;
    check_values(out, what_.c_str(), 2e-6 + 5e-7 * score + weights, 0, [&](int64_t r, int64_t c) {
      return c < q_cols() ? expected_[size_t(r * q_cols() + c)] : out.before(r, c);
    });
  }

  const Case c_;
  const std::string what_;
  Launcher launcher_;
  DeviceMatrix q_, k_, v_, out_, again_, table_;
  std::vector<double> expected_;
};

void test(const Case& c) { Test(c).run(); }

void test_mma() {
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    const auto mma = Path::kMma;
    for (int64_t width : {16, 32, 48, 64, 80, 96, 112, 128, 144, 256}) {
      test({"one row", mma, dtype, 1, 1, 1, width, {{0, 1, 0, 0}}, 0, dtype});
      test({"a tile of queries and a tail", mma, dtype, 150, 2, 1, width, {{0, 145, 0, 0}}});
      test({"a prefix and a window", mma, dtype, 90, 1, 1, width, {{0, 40, 0, 0}, {40, 50, 0, 37}}, 33, dtype, 8, 3});
    }
    for (int64_t length : {63, 64, 65, 127, 128, 129, 192, 261}) {
      test({"lengths around the tiles", mma, dtype, length + 2, 1, 1, 64, {{1, length, 0, 0}}});
      test({"lengths around the tiles, windowed", mma, dtype, length, 1, 1, 64, {{0, length, 0, 0}}, 64});
    }
    for (int64_t window : {1, 7, 63, 64, 65, 130, 1000}) {
      test({"windows", mma, dtype, 300, 1, 1, 32, {{0, 100, 0, 0}, {100, 200, 10, 80}}, window});
    }
    test({"no sequences", mma, dtype, 3, 1, 1, 16, {}});
    test({"no rows", mma, dtype, 0, 1, 1, 16, {{0, 0, 0, 0}}});
    test({"an empty sequence, rows outside every sequence", mma, dtype, 12, 2, 2, 16, {{2, 0, 0, 0}, {3, 5, 0, 0}}});
    test({"grouped heads, fused q, k and v",
          mma,
          dtype,
          90,
          6,
          2,
          32,
          {{0, 40, 0, 0}, {40, 50, 0, 0}},
          0,
          ZO2_F32,
          8,
          0,
          -1,
          false,
          true});
    test({"prefixes of all sizes",
          mma,
          dtype,
          200,
          2,
          2,
          32,
          {{0, 90, 0, 0}, {90, 3, 0, 90}, {93, 1, 0, 65}, {94, 60, 10, 64}, {154, 2, 5, 1}}});
    test({"out is q", mma, dtype, 200, 2, 2, 64, {{0, 200, 0, 0}}, 0, dtype, 8, 0, -1, true});
    test({"sharp softmax", mma, dtype, 150, 1, 1, 64, {{0, 150, 0, 0}}, 0, ZO2_F32, 0, 0, -1, false, false, 4});
    test({"negative scale", mma, dtype, 70, 1, 1, 32, {{0, 70, 0, 0}}, 0, ZO2_F32, 0, 0, -1, false, false, 1, -0.5});
    std::vector<Sequence> many;
    for (int64_t s = 0; s < 70; s++) many.push_back({s * 5, s % 6, 0, s % 3});
    many.push_back({350, 300, 0, 0});
    test({"many sequences", mma, dtype, 650, 1, 1, 16, many});
    test(
        {"keys beyond 2^32 bytes", mma, dtype, 3, 1, 1, 16, {{0, 3, 0, 0}}, 0, ZO2_F32, 0, 0, (int64_t{1} << 31) - 24});
  }
}

void test_simt() {
  const auto simt = Path::kSimt;
  for (int64_t width : {1, 5, 8, 21, 64, 65, 128, 130, 200, 256}) {
    test({"one row", simt, ZO2_F32, 1, 1, 1, width, {{0, 1, 0, 0}}});
    test({"a tile of queries and a tail", simt, ZO2_F32, 70, 2, 1, width, {{1, 66, 0, 0}}});
    test({"a prefix and a window",
          simt,
          ZO2_F32,
          90,
          1,
          1,
          width,
          {{0, 40, 0, 0}, {40, 50, 0, 37}},
          33,
          ZO2_BF16,
          3,
          1});
  }
  for (int64_t length : {31, 32, 33, 63, 64, 65, 131})
    test({"lengths around the tiles", simt, ZO2_F32, length, 1, 1, 16, {{0, length, 0, 0}}});
  for (int64_t window : {1, 7, 32, 33, 100, 1000}) {
    test({"windows", simt, ZO2_F32, 250, 1, 1, 8, {{0, 100, 0, 0}, {100, 150, 10, 80}}, window});
  }
  test({"no sequences", simt, ZO2_F32, 3, 1, 1, 8, {}});
  test({"prefixes of all sizes",
        simt,
        ZO2_F32,
        200,
        2,
        2,
        8,
        {{0, 90, 0, 0}, {90, 3, 0, 90}, {93, 1, 0, 65}, {94, 60, 10, 64}, {154, 2, 5, 1}}});
  test({"grouped heads, fused q, k and v",
        simt,
        ZO2_F32,
        90,
        6,
        2,
        8,
        {{0, 40, 0, 0}, {40, 50, 0, 0}},
        0,
        ZO2_F32,
        3,
        0,
        -1,
        false,
        true});
  test({"out is q", simt, ZO2_F32, 100, 2, 2, 24, {{0, 100, 0, 0}}, 0, ZO2_F32, 0, 0, -1, true});
  test({"sharp softmax", simt, ZO2_F32, 150, 1, 1, 64, {{0, 150, 0, 0}}, 0, ZO2_F32, 0, 0, -1, false, false, 4});
  test({"keys beyond 2^32 elements",
        simt,
        ZO2_F32,
        4,
        1,
        1,
        16,
        {{0, 4, 0, 0}},
        0,
        ZO2_F32,
        0,
        0,
        (int64_t{1} << 31) - 17});
  for (zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    test({"rows that are not aligned", simt, dtype, 70, 2, 1, 32, {{0, 70, 0, 0}}, 0, dtype, 1});
    test({"head size no multiple of 16", simt, dtype, 70, 2, 1, 24, {{0, 70, 0, 0}}, 0, dtype});
    test({"q in another dtype than k and v",
          simt,
          ZO2_F32,
          70,
          2,
          1,
          32,
          {{0, 70, 0, 0}},
          0,
          ZO2_F32,
          0,
          0,
          -1,
          false,
          false,
          1,
          0,
          dtype});
  }
}

// Keys and values in a cache of other rows than q: prompts of several tiles, one with a prefix that its own keys do not
// follow, and single rows.
void test_caches() {
  for (const zo2_dtype dtype : {ZO2_F32, ZO2_F16, ZO2_BF16}) {
    for (const int64_t window : {0, 1, 70}) {
      Case c = {"a cache", dtype == ZO2_F32 ? Path::kSimt : Path::kMma, dtype, 214, 2, 1, 32, {}, window};
      c.sequences = {
          {0, 100, 0, 0, 150}, {100, 70, 0, 0, 10}, {170, 40, 150, 100, 300}, {210, 1, 0, 0, 0}, {211, 1, 10, 70, 80}};
      c.sequences.push_back({212, 0, 340, 0, 340});
      c.key_rows = 340;
      test(c);
    }
  }
}

// On a stream that failed before, nothing is written; heads that no kernel takes are named.
void test_refusals() {
  Launcher launcher;
  launcher.poison(true);
  DeviceMatrix x(ZO2_BF16, 4, 16), out(ZO2_BF16, 4, 16), before(ZO2_BF16, 4, 16), table(ZO2_I32, 1, 4);
  Numbers numbers(1);
  x.randomise(numbers);
  table.set(0, 0, 0), table.set(0, 1, 4), table.set(0, 2, 0), table.set(0, 3, 0);
  for (DeviceMatrix* m : {&x, &out, &table}) m->upload();
  const AttentionArgs args = {out.view(), x.view(), x.view(), x.view(), table.view(), 1, 1, 1, 0};
  launcher.finish(launch_attention_mma(launcher.launch(), args), "attention");
  launcher.finish(launch_attention_simt(launcher.launch(), args), "attention");
  out.download();
  CHECK(out.same_bytes(before), "attention wrote on a poisoned stream");
  AttentionArgs wide = args;
  wide.q.cols = 257;
  CHECK(zo2::cuda::attention_unsupported(wide) != nullptr, "heads of 257 columns");
  wide.q.cols = 256;
  CHECK(zo2::cuda::attention_unsupported(wide) == nullptr, "heads of 256 columns");
  wide.q.rows = (int64_t{1} << 29) + 1;
  CHECK(zo2::cuda::attention_unsupported(wide) != nullptr, "2^29 + 1 rows");
  wide.q.rows = 4;
  wide.k.rows = (int64_t{1} << 29) + 1;
  CHECK(zo2::cuda::attention_unsupported(wide) != nullptr, "2^29 + 1 rows of keys");
}

}  // namespace

int main() {
  test_mma();
  test_simt();
  test_caches();
  test_refusals();
  return zo2::test::report();
}
