// How the Hopper matrix product finishes and stores its sums: which way it chooses, and that each way, on whole tiles
// and on ragged ones, gives the bits of the plain product finished on the host, one fp32 operation at a time.
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/ops/linear_sm90.cuh"
#include "cuda/ops/linear_sm90_store.cuh"
#include "cuda_rig.h"
#include "numerics/rounding.h"
#include "random.h"

using namespace zo2::test;
using zo2::cuda::Launch;
using zo2::cuda::LinearArgs;
using zo2::cuda::Matrix;
using zo2::cuda::Sm90Store;
using zo2::cuda::Traits;

namespace {

constexpr int64_t kDepth = 24;

size_t bytes_of(zo2_dtype dtype) { return dtype == ZO2_F32 ? 4 : 2; }

void encode(zo2_dtype dtype, float value, unsigned char* to) {
  const uint16_t half = dtype == ZO2_F16 ? zo2::numerics::f32_to_f16(value) : zo2::numerics::f32_to_bf16(value);
  std::memcpy(to, dtype == ZO2_F32 ? static_cast<const void*>(&value) : &half, bytes_of(dtype));
}

float decode(zo2_dtype dtype, const unsigned char* from) {
  float single = 0;
  uint16_t half = 0;
  std::memcpy(dtype == ZO2_F32 ? static_cast<void*>(&single) : &half, from, bytes_of(dtype));
  if (dtype == ZO2_F32) return single;
  return dtype == ZO2_F16 ? zo2::numerics::f16_to_f32(half) : zo2::numerics::bf16_to_f32(half);
}

// Where rows of a matrix begin: at multiples of 16 bytes, of two elements and no more, or of one.
enum class Rows { k16Bytes, kPairs, kElements };

// A matrix on the device with its bytes on the host; what lies between its rows must not change.
class Held {
 public:
  Held(zo2_dtype dtype, int64_t rows, int64_t cols, Rows aligned)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        stride_(stride_of(dtype, cols, aligned)),
        bytes_(static_cast<size_t>(rows * stride_) * bytes_of(dtype), 0xee),
        memory_(bytes_.size(), aligned == Rows::k16Bytes ? 0
                               : aligned == Rows::kPairs ? 2 * bytes_of(dtype)
                                                         : bytes_of(dtype)) {
    upload();
  }

  template <class Value>
  void fill(Value&& value) {
    for (int64_t r = 0; r < rows_; r++) {
      for (int64_t c = 0; c < cols_; c++) encode(dtype_, value(r, c), place(r, c));
    }
    upload();
  }
  void fill(Random& random) {
    fill([&](int64_t, int64_t) { return static_cast<float>(random.real()); });
  }

  Matrix matrix() const { return {memory_.at(), dtype_, rows_, cols_, stride_}; }
  float get(int64_t r, int64_t c) { return decode(dtype_, place(r, c)); }
  unsigned char* place(int64_t r, int64_t c) {
    return bytes_.data() + static_cast<size_t>(r * stride_ + c) * bytes_of(dtype_);
  }
  const std::vector<unsigned char>& bytes() const { return bytes_; }
  // What the device has, whatever is held here.
  std::vector<unsigned char> device() const { return memory_.get(); }
  bool intact() const { return memory_.intact(); }

 private:
  static int64_t stride_of(zo2_dtype dtype, int64_t cols, Rows aligned) {
    const int64_t sixteen = 16 / static_cast<int64_t>(bytes_of(dtype));
    const int64_t above = (cols + sixteen) / sixteen * sixteen;
    return above + (aligned == Rows::k16Bytes ? 0 : aligned == Rows::kPairs ? 2 : 1);
  }
  void upload() { memory_.put(bytes_.data()); }

  zo2_dtype dtype_;
  int64_t rows_, cols_, stride_;
  std::vector<unsigned char> bytes_;
  Guarded memory_;
};

enum class Residual { kNone, kApart, kInPlace };

struct Case {
  int64_t m, n;
  zo2_dtype type, out;  // of x and weight; of out and residual
  Rows rows;            // of out
  int activation;
  bool bias;
  Residual residual;
  Rows bias_rows = Rows::k16Bytes, residual_rows = Rows::k16Bytes;
  zo2_dtype residual_dtype = ZO2_F32;  // where it lies apart
  float scale = 1;                     // a power of two
  bool inner = false;

  std::string name() const {
    return std::to_string(m) + " x " + std::to_string(n) + " of dtype " + std::to_string(type) + " to " +
           std::to_string(out) + ", rows " + std::to_string(static_cast<int>(rows)) + ", activation " +
           std::to_string(activation) + (bias ? ", bias" : "") + ", residual " +
           std::to_string(static_cast<int>(residual));
  }
};

Traits traits_here() {
  cudaDeviceProp properties{};
  MUST(cudaGetDeviceProperties(&properties, 0));
  return {properties.major * 10 + properties.minor, 1, static_cast<int>(properties.sharedMemPerBlockOptin), false,
          static_cast<int>(properties.sharedMemPerMultiprocessor)};
}

class Stores {
 public:
  explicit Stores(CudaRig& rig) : rig_(rig), traits_(traits_here()) {}

  // Runs a case, which must take `way`.
  void one(const Case& c, Sm90Store way) {
    Random random(static_cast<uint64_t>(c.m * 131 + c.n));
    Held x(c.type, c.m, kDepth, Rows::k16Bytes), weight(c.type, c.n, kDepth, Rows::k16Bytes);
    x.fill(random);
    weight.fill(random);
    // Rows and columns that no activation may swallow, and no sum at all.
    if (c.m > 20) x.fill([&](int64_t r, int64_t k) { return r == 17 ? NAN : r == 5 ? 0.0f : x.get(r, k); });
    LinearArgs args{};
    args.x = x.matrix();
    args.weight = weight.matrix();

    Held sums(ZO2_F32, c.m, c.n, Rows::kElements);
    args.out = sums.matrix();
    run(args, Sm90Store::kGeneral, c);
    const std::vector<unsigned char> plain = sums.device();

    Held out(c.out, c.m, c.n, c.rows), bias(ZO2_F32, 1, c.n, c.bias_rows);
    Held apart(c.residual_dtype, c.m, c.n, c.residual_rows);
    bias.fill(random);
    apart.fill(random);
    if (c.residual == Residual::kInPlace) out.fill(random);
    Held& residual = c.residual == Residual::kInPlace ? out : apart;
    args.out = out.matrix();
    args.activation = c.activation;
    args.scale = c.scale;
    args.inner = c.inner;
    if (c.bias) args.bias = bias.matrix();
    if (c.residual != Residual::kNone) args.residual = residual.matrix();
    run(args, way, c);

    for (int64_t r = 0; r < c.m; r++) {
      for (int64_t n = 0; n < c.n; n++) {
        float value = 0;
        std::memcpy(&value, plain.data() + (sums.place(r, n) - sums.bytes().data()), 4);
        value *= c.scale;
        const float before = c.residual != Residual::kNone ? residual.get(r, n) : -0.0f;
        if (c.bias) value += bias.get(0, n);
        if (c.inner) value += before;
        if (c.activation == ZO2_ACTIVATION_RELU && value < 0) value = 0;
        if (!c.inner) value += before;
        encode(c.out, value, out.place(r, n));
      }
    }
    compare(c, out);
  }

 private:
  void run(const LinearArgs& args, Sm90Store way, const Case& c) {
    Launch at = rig_.launch();
    at.traits = &traits_;
    CHECK(zo2::cuda::sm90_store(args) == way, "%s: another way", c.name().c_str());
    if (CHECK(linear_sm90_accepts(at, args), "%s: refused", c.name().c_str())) MUST(launch_linear_sm90(at, args));
    rig_.finish();
  }

  // All bytes, those between rows too; one NaN is as good as another.
  void compare(const Case& c, Held& out) {
    const std::vector<unsigned char> got = out.device();
    size_t wrong = 0;
    for (size_t i = 0; i < got.size(); i += bytes_of(c.out)) {
      const unsigned char* const want = out.bytes().data() + i;
      const bool both_nan = std::isnan(decode(c.out, want)) && std::isnan(decode(c.out, &got[i]));
      wrong += std::memcmp(want, &got[i], bytes_of(c.out)) != 0 && !both_nan;
    }
    CHECK(wrong == 0, "%s: %zu elements differ", c.name().c_str(), wrong);
    CHECK(out.intact(), "%s: it wrote outside of out", c.name().c_str());
  }

  CudaRig& rig_;
  const Traits traits_;
};

// Whole tiles of both widths; rows that end within a warp's 16, within its upper 8 and before it; columns that end
// within 64, after one batch of 64 of a tile, and at an odd number.
constexpr int64_t kShapes[][2] = {{128, 256}, {256, 128}, {144, 320}, {133, 200}, {121, 130}, {9, 264}, {50, 187}};

void epilogues(CudaRig& rig) {
  Stores stores(rig);
  int number = 0;
  for (const auto& [m, n] : kShapes) {
    for (const Rows rows : {Rows::k16Bytes, Rows::kPairs, Rows::kElements}) {
      for (const Residual residual : {Residual::kNone, Residual::kApart, Residual::kInPlace}) {
        for (const bool wide : {false, true}) {
          // Four epilogues in turn, two of which every combination above meets.
          for (const int step : {0, 3}) {
            const int turn = number + step;
            Case c{m,       n, turn % 8 < 4 ? ZO2_BF16 : ZO2_F16, ZO2_F32, rows, ZO2_ACTIVATION_NONE, turn % 2 == 0,
                   residual};
            if (turn / 2 % 2 == 0) c.activation = ZO2_ACTIVATION_RELU;
            if (!wide) c.out = c.type;
            c.residual_dtype = c.out;
            const bool pairs = rows != Rows::kElements, chunks = rows == Rows::k16Bytes;
            stores.one(c, wide     ? pairs ? Sm90Store::kPairs : Sm90Store::kGeneral
                          : chunks ? Sm90Store::kChunks
                                   : Sm90Store::kGeneral);
          }
          number++;
        }
      }
    }
  }
}

// An operand or a word that is not as the fast ways need it.
void exceptions(CudaRig& rig) {
  Stores stores(rig);
  const Case good{128, 256, ZO2_BF16, ZO2_F32, Rows::k16Bytes, ZO2_ACTIVATION_RELU, true, Residual::kApart};
  const auto general = [&](auto change) {
    Case c = good;
    change(c);
    stores.one(c, Sm90Store::kGeneral);
  };
  stores.one(good, Sm90Store::kPairs);
  general([](Case& c) { c.bias_rows = Rows::kElements; });
  general([](Case& c) { c.residual_rows = Rows::kElements; });
  general([](Case& c) { c.residual_dtype = ZO2_BF16; });
  general([](Case& c) { c.out = ZO2_F16, c.residual_dtype = ZO2_F16; });
  general([](Case& c) { c.out = c.residual_dtype = ZO2_BF16, c.rows = Rows::kPairs; });
  general([](Case& c) { c.scale = 0.5f; });
  general([](Case& c) { c.inner = true; });
  general([](Case& c) { c.scale = -2.0f, c.inner = true, c.residual = Residual::kInPlace; });
  // Pairs suffice for what is only read.
  Case c = good;
  c.bias_rows = c.residual_rows = Rows::kPairs;
  stores.one(c, Sm90Store::kPairs);
  c.out = c.residual_dtype = ZO2_BF16;
  stores.one(c, Sm90Store::kChunks);
}

// "dtype:offset:stride"; "-": none.
Matrix matrix_of(const std::string& text, int64_t rows) {
  alignas(16) static unsigned char memory[1 << 16];
  if (text == "-") return {};
  const size_t first = text.find(':'), second = text.find(':', first + 1);
  const std::string dtype = text.substr(0, first);
  return {memory + std::stoul(text.substr(first + 1)),
          dtype == "f32"   ? ZO2_F32
          : dtype == "f16" ? ZO2_F16
                           : ZO2_BF16,
          rows, 8, std::stol(text.substr(second + 1))};
}

// The table that bench/lib/linear-store.mjs is held to as well.
void table() {
  std::ifstream file("test/fixtures/linear-stores.txt");
  int lines = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string x, out, bias, residual, activation, way;
    LinearArgs args{};
    words >> x >> out >> bias >> residual >> activation >> args.scale >> args.inner >> way;
    args.out = matrix_of(out, 2);
    args.x = args.weight = matrix_of(x + ":0:64", 2);
    args.bias = matrix_of(bias, 1);
    args.residual = matrix_of(residual, 2);
    const char* const names[] = {"none", "relu", "gelu", "geluTanh", "silu"};
    while (activation != names[args.activation]) args.activation++;
    const char* const ways[] = {"pairs", "chunks", "general"};
    CHECK(ways[static_cast<int>(sm90_store(args))] == way, "%s: %s", line.c_str(),
          ways[static_cast<int>(sm90_store(args))]);
    lines++;
  }
  CHECK(lines > 20, "%d lines in the table", lines);
}

}  // namespace

int main() {
  table();
  CudaRig rig;
  if (traits_here().capability != 90) {
    printf("no wgmma here: only the choice is tested\n");
    return report();
  }
  epilogues(rig);
  exceptions(rig);
  return report();
}
