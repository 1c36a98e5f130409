// Hopper's instructions under the emulator: a pipeline of tiles gives the right product, and each way to get it wrong
// is reported or shows in the result. Compiled with the emulator like a kernel file.
#include <cmath>
#include <cstdlib>
#include <vector>

#include "cuda/instructions/tma.h"
#include "cuda/instructions/wgmma.h"
#include "cuda/kernel.h"
#include "emulated.h"

using namespace zo2::cuda;

namespace {

enum class Mistake {
  kNone,
  kNoEmptyWait,  // the producer does not wait until a slot is free
  kWrongParity,  // the consumers wait for the phase before
  kFreedEarly,   // a slot is given back while products still read it
  kNoWait,       // results are used before they are there
  kNoFullWait,   // tiles are used before they are there
  kTooManyArrivals,
  kTooFewBytes,  // announced
  kTooManyBytes,
  kNoInitialisation,
  kNoFence,
  kMisaligned,
  kOneWarpLess,
};

constexpr int kStages = 3;
constexpr int kDepth = 64;
constexpr int kRows = 64;
constexpr int kConsumers = 128;

template <int N>
struct Shared {
  alignas(1024) uint16_t a[kStages][kRows * kDepth];
  alignas(1024) uint16_t b[kStages][N * kDepth];
  MBarrier full[kStages];
  MBarrier empty[kStages];
};

// out[M, columns] = A[M, K] B[columns, K]^T, one tile of 64 x N a block.
template <int N, class Element>
__global__ void __launch_bounds__(160)
    product(float* out, const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, int rows,
            int columns, int depth, Mistake mistake) {
  ZO2_SHARED_DYNAMIC(Shared<N>, shared);
  const int t = threadIdx.x;
  const int row = blockIdx.y * kRows;
  const int column = blockIdx.x * N;
  const int steps = (depth + kDepth - 1) / kDepth;
  if (t == 0 && mistake != Mistake::kNoInitialisation) {
    for (int s = 0; s < kStages; s++) {
      mbarrier_init(&shared->full[s], 1);
      mbarrier_init(&shared->empty[s], kConsumers);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (t >= kConsumers) {
    if (t == kConsumers) {
      for (int step = 0; step < steps; step++) {
        const int s = step % kStages;
        if (step >= kStages && mistake != Mistake::kNoEmptyWait)
          mbarrier_wait(&shared->empty[s], (step / kStages - 1) & 1);
        const int bytes = (kRows + N) * kTmaRowBytes + (mistake == Mistake::kTooFewBytes    ? -16
                                                        : mistake == Mistake::kTooManyBytes ? 16
                                                                                            : 0);
        mbarrier_arrive_expect_tx(&shared->full[s], bytes);                           // [announce]
        if (mistake == Mistake::kTooManyArrivals) mbarrier_arrive(&shared->full[s]);  // [arrive again]
        const int shift = mistake == Mistake::kMisaligned ? 64 : 0;
        tma_load_2d(shared->a[s] + shift, &a, &shared->full[s], row, step * kDepth);  // [load]
        tma_load_2d(shared->b[s], &b, &shared->full[s], column, step * kDepth);       // [load b]
      }
    }
  } else {
    float d[N / 2];
    for (int step = 0; step < steps; step++) {
      const int s = step % kStages;
      const int parity = (step / kStages + (mistake == Mistake::kWrongParity ? 1 : 0)) & 1;
      if (mistake != Mistake::kNoFullWait) mbarrier_wait(&shared->full[s], parity);  // [full]
      if (mistake == Mistake::kOneWarpLess && t < 32) continue;
      if (mistake != Mistake::kNoFence) wgmma_fence();
      const uint64_t tile_a = wgmma_descriptor(shared->a[s]);
      const uint64_t tile_b = wgmma_descriptor(shared->b[s]);
      for (int k = 0; k < kDepth / 16; k++) {
        const uint64_t a = wgmma_advance(tile_a, 32 * k), b = wgmma_advance(tile_b, 32 * k);
        wgmma_m64k16(d, a, b, Element{}, step + k > 0);  // [product]
      }
      wgmma_commit();
      if (mistake == Mistake::kFreedEarly) mbarrier_arrive(&shared->empty[s]);
      if (mistake != Mistake::kNoWait || step + 1 < steps) wgmma_wait<0>();
      if (mistake != Mistake::kFreedEarly) mbarrier_arrive(&shared->empty[s]);
    }
    for (int i = 0; i < N / 2; i++) {
      const int r = row + t / 32 * 16 + t % 32 / 4 + (i & 2 ? 8 : 0);
      const int c = column + i / 4 * 8 + t % 4 * 2 + (i & 1);
      if (r < rows && c < columns) out[static_cast<int64_t>(r) * columns + c] = d[i];
    }
  }
}

float value(int seed, int64_t i) { return static_cast<float>((i * 2654435761u + seed * 40503u) % 1000 / 8 - 62) / 32; }

template <class Element>
uint16_t bits(float number);
template <>
uint16_t bits<F16>(float number) {
  return __half_as_ushort(__float2half_rn(number));
}
template <>
uint16_t bits<BF16>(float number) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(number));
}
template <class Element>
float rounded(float number);
template <>
float rounded<F16>(float number) {
  return __half2float(__float2half_rn(number));
}
template <>
float rounded<BF16>(float number) {
  return __bfloat162float(__float2bfloat16_rn(number));
}

template <class Element>
std::vector<float> matrix(int seed, int rows, int columns) {
  std::vector<float> values(static_cast<size_t>(rows) * columns);
  for (size_t i = 0; i < values.size(); i++) values[i] = rounded<Element>(value(seed, static_cast<int64_t>(i)));
  return values;
}

// In device memory, rows `stride` elements apart; between them lies NaN.
template <class Element>
uint16_t* upload(const std::vector<float>& values, int rows, int columns, int stride) {
  std::vector<uint16_t> packed(static_cast<size_t>(rows) * stride, 0xffff);
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < columns; c++)
      packed[static_cast<size_t>(r) * stride + c] = bits<Element>(values[static_cast<size_t>(r) * columns + c]);
  }
  uint16_t* memory = nullptr;
  CHECK(cudaMalloc(reinterpret_cast<void**>(&memory), packed.size() * 2) == cudaSuccess);
  CHECK(cudaMemcpy(memory, packed.data(), packed.size() * 2, cudaMemcpyHostToDevice) == cudaSuccess);
  return memory;
}

// Whether every element is within fp32 rounding of the product in double precision.
template <int N, class Element>
bool runs(int rows, int columns, int depth, Mistake mistake) {
  const std::vector<float> a = matrix<Element>(1, rows, depth);
  const std::vector<float> b = matrix<Element>(2, columns, depth);
  const int stride = (depth + 7) / 8 * 8 + 8;
  const uint16_t* const device_a = upload<Element>(a, rows, depth, stride);
  const uint16_t* const device_b = upload<Element>(b, columns, depth, stride);
  const TmaElement element = std::is_same_v<Element, F16> ? TmaElement::kF16 : TmaElement::kBF16;
  CUtensorMap map_a;
  CUtensorMap map_b;
  CHECK(tma_describe(&map_a, element, device_a, rows, depth, stride, kRows) == cudaSuccess);
  CHECK(tma_describe(&map_b, element, device_b, columns, depth, stride, N) == cudaSuccess);
  float* out = nullptr;
  std::vector<float> result(static_cast<size_t>(rows) * columns, 0.0f);
  CHECK(cudaMalloc(reinterpret_cast<void**>(&out), result.size() * 4) == cudaSuccess);
  const dim3 grid((columns + N - 1) / N, (rows + kRows - 1) / kRows);
  CHECK(ZO2_LAUNCH((product<N, Element>), grid, dim3(160), sizeof(Shared<N>), nullptr, out, map_a, map_b, rows, columns,
                   depth, mistake) == cudaSuccess ||
        mistake != Mistake::kNone);
  if (cudaMemcpy(result.data(), out, result.size() * 4, cudaMemcpyDeviceToHost) != cudaSuccess) return false;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < columns; c++) {
      double sum = 0;
      double size = 0;
      for (int k = 0; k < depth; k++) {
        const double term =
            static_cast<double>(a[static_cast<size_t>(r) * depth + k]) * b[static_cast<size_t>(c) * depth + k];
        sum += term;
        size += std::fabs(term);
      }
      const double error = std::fabs(result[static_cast<size_t>(r) * columns + c] - sum);
      if (!(error <= (depth + 1) * 0x1p-24 * size + 1e-30)) return false;
    }
  }
  return true;
}

template <int N, class Element>
void products() {
  const struct {
    int rows, columns, depth;
  } shapes[] = {{1, 1, 1}, {64, N, 64}, {63, N - 1, 63}, {65, N + 1, 65}, {64, N, 448}, {130, 2 * N + 3, 200}};
  for (const auto& shape : shapes) {
    zo2::test::expect(__FILE__, "product", "", {}, [&] {
      const bool right = runs<N, Element>(shape.rows, shape.columns, shape.depth, Mistake::kNone);
      CHECK(right, "%d x %d x %d, N %d: %s", shape.rows, shape.columns, shape.depth, N, zo2_emu_last_report());
    });
  }
}

// `kind`: what the race build reports; `everywhere`: what every build reports; neither: the result is wrong, or the
// report is of no certain kind.
void mistake(const char* name, Mistake made, const char* kind, const char* everywhere,
             std::initializer_list<const char*> marks) {
  const char* const expected = zo2::test::kRaceBuild ? kind : everywhere;
  const uint64_t before = zo2_emu_reports();
  const auto body = [&] {
    const bool right = runs<64, BF16>(64, 64, 640, made);
    // Nothing but the race build sees for certain that a slot came back a little early.
    const bool seen = zo2::test::kRaceBuild || made != Mistake::kFreedEarly;
    CHECK(!seen || !right || zo2_emu_reports() != before, "%s: nobody noticed", name);
    static_cast<void>(cudaGetLastError());
  };
  if (expected != nullptr) {
    zo2::test::expect(__FILE__, name, expected, marks, body);
  } else {
    body();
    CHECK(cudaDeviceReset() == cudaSuccess);
    zo2::cuda::load_kernels();
  }
}

void mistakes() {
  mistake("no wait for an empty slot", Mistake::kNoEmptyWait, nullptr, nullptr, {});
  mistake("slot freed early", Mistake::kFreedEarly, "racecheck", nullptr, {"product"});
  mistake("no wait for a full slot", Mistake::kNoFullWait, nullptr, nullptr, {});
  mistake("wrong parity", Mistake::kWrongParity, nullptr, nullptr, {});
  mistake("no wait for products", Mistake::kNoWait, "wgmma", "wgmma", {"product"});
  mistake("too many arrivals", Mistake::kTooManyArrivals, "mbarrier", "mbarrier", {"arrive again"});
  mistake("too many bytes announced", Mistake::kTooManyBytes, "deadlock", "deadlock", {"full"});
  mistake("too few bytes announced", Mistake::kTooFewBytes, nullptr, nullptr, {});
  mistake("barrier never initialised", Mistake::kNoInitialisation, nullptr, nullptr, {});
  mistake("no fence", Mistake::kNoFence, "wgmma", "wgmma", {"product"});
  mistake("misaligned tile", Mistake::kMisaligned, "misaligned", "misaligned", {"load"});
  mistake("one warp less", Mistake::kOneWarpLess, nullptr, nullptr, {});
}

// Tiles of fp32, and what lies outside of the matrix.
__global__ void one_tile(float* out, const __grid_constant__ CUtensorMap map, int row, int column) {
  struct Tile {
    alignas(1024) float values[16 * 32];
    MBarrier landed;
  };
  ZO2_SHARED_DYNAMIC(Tile, tile);
  if (threadIdx.x == 0) {
    mbarrier_init(&tile->landed, 1);
    mbarrier_init_fence();
    mbarrier_arrive_expect_tx(&tile->landed, 16 * kTmaRowBytes);
    tma_load_2d(tile->values, &map, &tile->landed, row, column);
  }
  __syncthreads();
  mbarrier_wait(&tile->landed, 0);
  for (int r = 0; r < 16; r++) {
    const int chunk = (threadIdx.x / 4) ^ (r & 7);
    out[r * 32 + threadIdx.x] = tile->values[r * 32 + chunk * 4 + threadIdx.x % 4];
  }
}

void tiles() {
  constexpr int kMatrixRows = 20;
  constexpr int kMatrixColumns = 45;
  constexpr int kStride = 48;
  for (const int row : {0, 10, -3, 19, 20}) {
    for (const int column : {0, 32, 44, -5, 64}) {
      zo2::test::expect(__FILE__, "tile", "", {}, [&] {
        float* matrix = nullptr;
        float* out = nullptr;
        std::vector<float> values(kMatrixRows * kStride);
        for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i + 1);
        CHECK(cudaMalloc(reinterpret_cast<void**>(&matrix), values.size() * 4) == cudaSuccess);
        CHECK(cudaMalloc(reinterpret_cast<void**>(&out), 16 * 32 * 4) == cudaSuccess);
        CHECK(cudaMemcpy(matrix, values.data(), values.size() * 4, cudaMemcpyHostToDevice) == cudaSuccess);
        CUtensorMap map;
        CHECK(tma_describe(&map, TmaElement::kF32, matrix, kMatrixRows, kMatrixColumns, kStride, 16) == cudaSuccess);
        CHECK(ZO2_LAUNCH(one_tile, dim3(1), dim3(32), 16 * 128 + 1024, nullptr, out, map, row, column) == cudaSuccess);
        std::vector<float> result(16 * 32);
        CHECK(cudaMemcpy(result.data(), out, result.size() * 4, cudaMemcpyDeviceToHost) == cudaSuccess);
        for (int i = 0; i < 16 * 32; i++) {
          const int r = row + i / 32;
          const int c = column + i % 32;
          const bool inside = r >= 0 && r < kMatrixRows && c >= 0 && c < kMatrixColumns;
          CHECK(result[i] == (inside ? static_cast<float>(r * kStride + c + 1) : 0.0f), "row %d column %d", r, c);
        }
      });
    }
  }
}

void maps() {
  alignas(16) static uint16_t memory[64];
  CUtensorMap map;
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 4, 16, 16, 64) == cudaSuccess);
  CHECK(tma_describe(&map, TmaElement::kF16, memory + 1, 4, 16, 16, 64) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 4, 12, 12, 64) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 4, 16, 8, 64) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 0, 16, 16, 64) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 4, 0, 16, 64) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF16, memory, 4, 16, 16, 257) == cudaErrorInvalidValue);
  CHECK(tma_describe(&map, TmaElement::kF32, memory, 4, 16, 16, 256) == cudaSuccess);
}

}  // namespace

int main() {
  zo2::cuda::load_kernels();
  products<64, F16>();
  products<64, BF16>();
  products<128, BF16>();
  products<256, F16>();
  tiles();
  maps();
  mistakes();
  return zo2::test::report();
}
