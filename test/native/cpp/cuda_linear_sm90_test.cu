// The Hopper matrix product at kernel level: against exact sums, against its mma.sync twin, and what it must refuse.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "cuda/kernel.h"
#include "cuda/ops/linear_mma.cuh"
#include "cuda/ops/linear_sm90.cuh"
#include "numerics/rounding.h"

namespace {

using zo2::cuda::FaultSlot;
using zo2::cuda::Launch;
using zo2::cuda::LinearArgs;
using zo2::cuda::Matrix;
using zo2::cuda::Traits;

constexpr uint8_t kSentinel = 0xa5;

// The same numbers on every run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 88172645463325252u) {}

  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  int integer(int limit) { return static_cast<int>(next() % static_cast<uint64_t>(2 * limit + 1)) - limit; }
  float uniform() { return static_cast<float>(static_cast<double>(next() >> 11) * 0x1p-52 - 1.0); }

 private:
  uint64_t state_;
};

bool ok(cudaError_t status, const char* what) {
  return CHECK(status == cudaSuccess, "%s: %s", what, cudaGetErrorString(status));
}

// Device memory of exactly these bytes, so that an access past them is one past the allocation too.
class DeviceBytes {
 public:
  explicit DeviceBytes(const std::vector<uint8_t>& bytes) : count_(bytes.size()) {
    ok(cudaMalloc(&data_, std::max<size_t>(count_, 1)), "cudaMalloc");
    ok(cudaMemcpy(data_, bytes.data(), count_, cudaMemcpyHostToDevice), "upload");
  }
  ~DeviceBytes() { cudaFree(data_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  uint8_t* data() const { return static_cast<uint8_t*>(data_); }
  std::vector<uint8_t> read() const {
    std::vector<uint8_t> bytes(count_);
    ok(cudaMemcpy(bytes.data(), data_, count_, cudaMemcpyDeviceToHost), "download");
    return bytes;
  }

 private:
  size_t count_;
  void* data_ = nullptr;
};

size_t size_of(zo2_dtype dtype) { return dtype == ZO2_F32 ? 4 : 2; }

void put(uint8_t* to, zo2_dtype dtype, float value) {
  const uint16_t half = dtype == ZO2_F16 ? zo2::numerics::f32_to_f16(value) : zo2::numerics::f32_to_bf16(value);
  std::memcpy(to, dtype == ZO2_F32 ? static_cast<const void*>(&value) : &half, size_of(dtype));
}

float get(const uint8_t* from, zo2_dtype dtype) {
  if (dtype == ZO2_F32) {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, from, 2);
  return dtype == ZO2_F16 ? zo2::numerics::f16_to_f32(half) : zo2::numerics::bf16_to_f32(half);
}

// A matrix on the device, its last row without the gap that follows it, and its values as they are stored.
struct Tensor {
  Tensor(zo2_dtype dtype, int64_t rows, int64_t cols, int64_t stride, const std::vector<float>& values)
      : bytes(pack(dtype, rows, cols, stride, values)), memory(bytes) {
    matrix = {memory.data(), dtype, rows, cols, stride};
  }

  static std::vector<uint8_t> pack(zo2_dtype dtype, int64_t rows, int64_t cols, int64_t stride,
                                   const std::vector<float>& values) {
    const size_t size = size_of(dtype);
    std::vector<uint8_t> packed(static_cast<size_t>((rows - 1) * stride + cols) * size, kSentinel);
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t c = 0; c < cols; c++) {
        put(&packed[static_cast<size_t>(r * stride + c) * size], dtype, values[static_cast<size_t>(r * cols + c)]);
      }
    }
    return packed;
  }

  float at(int64_t r, int64_t c) const {
    return get(&bytes[static_cast<size_t>(r * matrix.stride + c) * size_of(matrix.dtype)], matrix.dtype);
  }

  std::vector<uint8_t> bytes;
  DeviceBytes memory;
  Matrix matrix;
};

struct Bench {
  explicit Bench(int multiprocessors)
      : slot_bytes(std::vector<uint8_t>(sizeof(FaultSlot), 0)),
        mirror_bytes(std::vector<uint8_t>(sizeof(FaultSlot), 0)) {
    int device = 0;
    cudaDeviceProp properties{};
    ok(cudaGetDevice(&device), "cudaGetDevice");
    ok(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    traits = {properties.major * 10 + properties.minor, multiprocessors,
              static_cast<int>(properties.sharedMemPerBlockOptin), false};
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    launch = {stream, reinterpret_cast<FaultSlot*>(slot_bytes.data()),
              reinterpret_cast<FaultSlot*>(mirror_bytes.data()), 1, &traits};
  }
  ~Bench() { cudaStreamDestroy(stream); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  bool finish(cudaError_t launched) {
    return ok(launched, "launch") && ok(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  DeviceBytes slot_bytes;
  DeviceBytes mirror_bytes;
  Traits traits{};
  cudaStream_t stream = nullptr;
  Launch launch{};
};

enum class Residual { kNone, kOther, kOut };

struct Case {
  int64_t m, n, k;
  zo2_dtype dtype = ZO2_BF16;
  zo2_dtype out = ZO2_F32;
  int64_t x_gap = 0, weight_gap = 0, out_gap = 0;
  bool bias = false;
  Residual residual = Residual::kNone;
  int activation = ZO2_ACTIVATION_NONE;
  bool integers = true;     // sums that are exact in fp32 whatever their order
  int multiprocessors = 2;  // blocks: few, so that each walks over several tiles
};

double activate(int activation, double v) {
  if (activation == ZO2_ACTIVATION_RELU) return v > 0 ? v : 0;
  if (activation == ZO2_ACTIVATION_GELU) return 0.5 * v * (1 + std::erf(v * std::sqrt(0.5)));
  return v;
}

int64_t padded(int64_t columns, int64_t gap) { return (columns + 7) / 8 * 8 + gap; }

void run_case(const Case& c) {
  Random random(static_cast<uint64_t>(c.m * 1009 + c.n * 31 + c.k));
  auto draw = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = c.integers ? static_cast<float>(random.integer(4)) : random.uniform();
    return values;
  };
  const Tensor x(c.dtype, c.m, c.k, padded(c.k, c.x_gap), draw(c.m * c.k));
  const Tensor weight(c.dtype, c.n, c.k, padded(c.k, c.weight_gap), draw(c.n * c.k));
  const Tensor bias(ZO2_F32, 1, c.n, c.n, draw(c.n));
  const Tensor other(c.out, c.m, c.n, c.n + 3, draw(c.m * c.n));
  const Tensor out(c.out, c.m, c.n, c.n + c.out_gap, draw(c.m * c.n));
  const Tensor twin(c.out, c.m, c.n, c.n + c.out_gap, std::vector<float>(static_cast<size_t>(c.m * c.n), 0.0f));
  ok(cudaMemcpy(twin.memory.data(), out.bytes.data(), out.bytes.size(), cudaMemcpyHostToDevice), "upload");

  LinearArgs args{};
  args.out = out.matrix;
  args.x = x.matrix;
  args.weight = weight.matrix;
  args.activation = c.activation;
  if (c.bias) args.bias = bias.matrix;
  if (c.residual == Residual::kOther) args.residual = other.matrix;
  if (c.residual == Residual::kOut) args.residual = out.matrix;
  LinearArgs twin_args = args;
  twin_args.out = twin.matrix;
  if (c.residual == Residual::kOut) twin_args.residual = twin.matrix;

  Bench bench(c.multiprocessors);
  const long long m = c.m, n = c.n, k = c.k;
  if (!CHECK(linear_sm90_accepts(bench.launch, args), "%lld x %lld x %lld is refused", m, n, k)) return;
  if (!bench.finish(launch_linear_sm90(bench.launch, args))) return;
  if (!bench.finish(launch_linear_mma(bench.launch, twin_args))) return;

  const std::vector<uint8_t> got = out.memory.read(), beside = twin.memory.read();
  const Tensor* const residual = c.residual == Residual::kOther ? &other
                                 : c.residual == Residual::kOut ? &out
                                                                : nullptr;
  const size_t size = size_of(c.out);
  const double unit = c.out == ZO2_F32 ? 0x1p-23 : c.out == ZO2_F16 ? 0x1p-10 : 0x1p-7;
  long long wrong = 0, apart = 0, spilled = 0;
  std::vector<double> reference(static_cast<size_t>(c.m * c.n));
  for (int64_t r = 0; r < c.m; r++) {
    for (int64_t col = 0; col < c.n; col++) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < c.k; i++) {
        const double term = static_cast<double>(x.at(r, i)) * weight.at(col, i);
        sum += term;
        magnitude += std::fabs(term);
      }
      if (c.bias) sum += bias.at(0, col);
      double value = activate(c.activation, sum);
      if (residual != nullptr) value += residual->at(r, col);
      const size_t at = static_cast<size_t>(r * out.matrix.stride + col) * size;
      const float mine = get(&got[at], c.out), other_kernel = get(&beside[at], c.out);
      // fp32 sums of integers are exact; what is left is the activation and one rounding.
      const double bound =
          (c.integers ? 4 : 4 + static_cast<double>(c.k)) * 0x1p-23 * (magnitude + 8) + unit * std::fabs(value);
      const bool exact = c.integers && c.activation != ZO2_ACTIVATION_GELU;
      uint8_t rounded[4];
      put(rounded, c.out, static_cast<float>(value));
      wrong += exact ? mine != get(rounded, c.out) : !(std::fabs(mine - value) <= bound);
      apart += exact ? mine != other_kernel : !(std::fabs(static_cast<double>(mine) - other_kernel) <= 2 * bound);
    }
  }
  for (size_t i = 0; i < got.size(); i++) {
    const size_t column = i / size % static_cast<size_t>(out.matrix.stride);
    if (column >= static_cast<size_t>(c.n)) spilled += got[i] != kSentinel;
  }
  CHECK(wrong == 0, "%lld x %lld x %lld, dtypes %d to %d, activation %d: %lld elements wrong", m, n, k, c.dtype, c.out,
        c.activation, wrong);
  CHECK(apart == 0, "%lld x %lld x %lld, dtypes %d to %d, activation %d: %lld elements unlike the twin's", m, n, k,
        c.dtype, c.out, c.activation, apart);
  CHECK(spilled == 0, "%lld x %lld x %lld: %lld bytes written outside", m, n, k, spilled);
  CHECK(x.memory.read() == x.bytes && weight.memory.read() == weight.bytes && other.memory.read() == other.bytes,
        "an input was written");
}

void test_tails() {
  for (const int64_t m : {1, 127, 128, 129, 300}) run_case({m, 136, 72});
  for (const int64_t n : {1, 127, 128, 129, 255, 256, 257, 520}) run_case({65, n, 40});
  for (const int64_t k : {1, 8, 15, 63, 64, 65, 130, 700}) run_case({70, 72, k});
}

void test_epilogues() {
  Case c{130, 150, 72};
  c.out_gap = 5;
  for (const zo2_dtype dtype : {ZO2_F16, ZO2_BF16}) {
    for (const zo2_dtype out : {ZO2_F32, dtype}) {
      for (const Residual residual : {Residual::kNone, Residual::kOther, Residual::kOut}) {
        c.dtype = dtype;
        c.out = out;
        c.residual = residual;
        c.bias = residual != Residual::kNone;
        c.activation = residual == Residual::kOut ? ZO2_ACTIVATION_GELU : ZO2_ACTIVATION_RELU;
        run_case(c);
      }
    }
  }
}

void test_rounding() {
  Case c{96, 264, 328};
  c.integers = false;
  c.bias = true;
  run_case(c);
  c.dtype = ZO2_F16;
  c.out = ZO2_F16;
  run_case(c);
}

void test_strides() {
  Case c{140, 40, 72};
  c.x_gap = 8;
  c.weight_gap = 24;
  c.out_gap = 1;
  run_case(c);
}

// Both widths of tile, more tiles than blocks, more row tiles than one group has, and the ring's rounds across tiles.
void test_walk() {
  Case c{128 * 17 + 1, 130, 8};
  c.multiprocessors = 3;
  run_case(c);
  c = {260, 700, 136};
  c.multiprocessors = 1;
  run_case(c);
  c = {256, 256, 64};
  c.multiprocessors = 4;
  run_case(c);
}

void test_poison() {
  const std::vector<float> values(64 * 64, 1.0f);
  const Tensor x(ZO2_F16, 64, 64, 64, values), weight(ZO2_F16, 64, 64, 64, values), out(ZO2_F32, 64, 64, 64, values);
  Bench bench(2);
  const uint32_t raised = 1;
  ok(cudaMemcpy(bench.slot_bytes.data(), &raised, sizeof raised, cudaMemcpyHostToDevice), "poison");
  LinearArgs args{};
  args.out = out.matrix;
  args.x = x.matrix;
  args.weight = weight.matrix;
  if (!bench.finish(launch_linear_sm90(bench.launch, args))) return;
  CHECK(out.memory.read() == out.bytes, "a poisoned stream's kernel wrote");
}

void test_refusals() {
  const std::vector<float> values(128 * 128, 1.0f);
  const Tensor x(ZO2_BF16, 128, 64, 72, values), weight(ZO2_BF16, 128, 64, 72, values),
      out(ZO2_F32, 128, 128, 128, values);
  LinearArgs good{};
  good.out = out.matrix;
  good.x = x.matrix;
  good.weight = weight.matrix;
  Bench bench(2);
  CHECK(linear_sm90_accepts(bench.launch, good));
  auto refused = [&](const char* what, auto change) {
    LinearArgs args = good;
    change(args);
    CHECK(!linear_sm90_accepts(bench.launch, args), "%s", what);
  };
  refused("x of fp32", [](LinearArgs& a) { a.x.dtype = ZO2_F32; });
  refused("both fp32", [](LinearArgs& a) { a.x.dtype = a.weight.dtype = ZO2_F32; });
  refused("two 16-bit dtypes", [](LinearArgs& a) { a.x.dtype = ZO2_F16; });
  refused("x off 16 bytes", [](LinearArgs& a) { a.x.data = static_cast<uint8_t*>(a.x.data) + 2; });
  refused("weight off 16 bytes", [](LinearArgs& a) { a.weight.data = static_cast<uint8_t*>(a.weight.data) + 8; });
  refused("odd stride of x", [](LinearArgs& a) { a.x.stride = 68; });
  refused("odd stride of weight", [](LinearArgs& a) { a.weight.stride = 65; });
  refused("K = 0", [](LinearArgs& a) { a.x.cols = a.weight.cols = 0; });
  refused("M = 0", [](LinearArgs& a) { a.x.rows = a.out.rows = 0; });
  refused("N = 0", [](LinearArgs& a) { a.weight.rows = a.out.cols = 0; });
  refused("more rows than 31 bits count", [](LinearArgs& a) { a.x.rows = a.out.rows = int64_t{1} << 31; });
  for (const int capability : {80, 89, 100, 120}) {
    bench.traits.capability = capability;
    CHECK(!linear_sm90_accepts(bench.launch, good), "capability %d", capability);
  }
  bench.traits.capability = 90;
  bench.traits.multiprocessors = 132;
  CHECK(!linear_sm90_accepts(bench.launch, good), "one tile for 132 multiprocessors");
}

}  // namespace

int main() {
  int device = 0;
  cudaDeviceProp properties{};
  if (!ok(cudaGetDevice(&device), "cudaGetDevice") ||
      !ok(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties")) {
    return zo2::test::report();
  }
  if (properties.major != 9 || properties.minor != 0) {
    printf("capability %d.%d has no wgmma: only the refusal is tested\n", properties.major, properties.minor);
    Bench bench(1);
    CHECK(!linear_sm90_accepts(bench.launch, LinearArgs{}));
    return zo2::test::report();
  }
  test_tails();
  test_epilogues();
  test_rounding();
  test_strides();
  test_walk();
  test_poison();
  test_refusals();
  return zo2::test::report();
}
