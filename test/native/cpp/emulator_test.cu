// The emulator: what a kernel finds on it, and what it reports.
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda/instructions/cp_async.h"
#include "cuda/instructions/ldmatrix.h"
#include "cuda/instructions/mma.h"
#include "cuda/kernel.h"
#include "emulated.h"

using namespace zo2::cuda;
using zo2::test::expect;

namespace {

template <class T>
struct Device {
  explicit Device(size_t count) : count(count) {
    CHECK(cudaMalloc(reinterpret_cast<void**>(&data), count * sizeof(T)) == cudaSuccess);
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    CHECK(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~Device() { cudaFree(data); }
  std::vector<T> read() const {
    std::vector<T> values(count);
    CHECK(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }
  size_t count;
  T* data = nullptr;
};

// Deterministic values in [-1, 1).
float value_of(uint32_t index) { return static_cast<float>(static_cast<int32_t>(index * 2654435761u)) / 2147483648.0f; }

// ---- indices

__global__ void number_threads(int* out) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(&out[block * (blockDim.x * blockDim.y * blockDim.z) + thread], 1);
}

void every_thread_runs_once() {
  for (const dim3 block : {dim3(1), dim3(33), dim3(8, 4, 2), dim3(1024)}) {
    const dim3 grid(5, 3, 2);
    Device<int> out(std::vector<int>(30 * block.x * block.y * block.z));
    CHECK(ZO2_LAUNCH(number_threads, grid, block, 0, nullptr, out.data) == cudaSuccess);
    for (const int times : out.read()) CHECK(times == 1, "%d times", times);
  }
}

// ---- warps

__global__ void shuffle_all(int width, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = out + lane * 4;
  mine[0] = __shfl_sync(0xffffffffu, lane, lane * 7 + 3, width);
  mine[1] = __shfl_up_sync(0xffffffffu, lane, 3, width);
  mine[2] = __shfl_down_sync(0xffffffffu, lane, 5, width);
  mine[3] = __shfl_xor_sync(0xffffffffu, lane, 1, width);
}

void shuffles_read_their_lane() {
  for (const int width : {2, 4, 8, 16, 32}) {
    Device<int> out(128);
    CHECK(ZO2_LAUNCH(shuffle_all, 1, 32, 0, nullptr, width, out.data) == cudaSuccess);
    const auto got = out.read();
    for (int lane = 0; lane < 32; ++lane) {
      const int first = lane / width * width;
      const int up = lane - 3 < first ? lane : lane - 3;
      const int down = lane + 5 >= first + width ? lane : lane + 5;
      CHECK(got[lane * 4] == first + (lane * 7 + 3) % width, "width %d lane %d", width, lane);
      CHECK(got[lane * 4 + 1] == up && got[lane * 4 + 2] == down && got[lane * 4 + 3] == (lane ^ 1), "width %d lane %d",
            width, lane);
    }
  }
}

// Both halves of a warp shuffle at the same time, on their own paths.
__global__ void shuffle_halves(double* out) {
  const int lane = static_cast<int>(threadIdx.x);
  double sum = lane;
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, step);
  } else {
    for (int step = 8; step > 0; step /= 2) sum += __shfl_down_sync(0xffff0000u, sum, step, 16);
  }
  out[lane] = sum;
}

void masks_that_do_not_overlap_work_side_by_side() {
  Device<double> out(32);
  CHECK(ZO2_LAUNCH(shuffle_halves, 1, 32, 0, nullptr, out.data) == cudaSuccess);
  const auto got = out.read();
  CHECK(got[0] == 120 && got[15] == 120 && got[16] == 376);
}

__global__ void vote(unsigned* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const unsigned odd = __ballot_sync(0xffffffffu, thread % 2);
  const int any = __any_sync(0xffffffffu, thread == 40);
  const int all = __all_sync(0xffffffffu, thread >= 32);
  const int block_or = __syncthreads_or(thread == 63);
  const int block_and = __syncthreads_and(thread != 5);
  const int block_count = __syncthreads_count(thread % 3 == 0);
  unsigned* mine = out + thread * 6;
  mine[0] = odd;
  mine[1] = static_cast<unsigned>(any);
  mine[2] = static_cast<unsigned>(all);
  mine[3] = static_cast<unsigned>(block_or);
  mine[4] = static_cast<unsigned>(block_and);
  mine[5] = static_cast<unsigned>(block_count);
}

void votes_count_every_thread() {
  Device<unsigned> out(64 * 6);
  CHECK(ZO2_LAUNCH(vote, 1, 64, 0, nullptr, out.data) == cudaSuccess);
  const auto got = out.read();
  for (unsigned thread = 0; thread < 64; ++thread) {
    const unsigned* mine = &got[thread * 6];
    const unsigned second_warp = thread >= 32;
    CHECK(mine[0] == 0xaaaaaaaau && mine[1] == second_warp && mine[2] == second_warp, "thread %u", thread);
    CHECK(mine[3] == 1 && mine[4] == 0 && mine[5] == 22, "thread %u: %u %u %u", thread, mine[3], mine[4], mine[5]);
  }
}

__global__ void count_atomically(unsigned* sums, int* extremes, unsigned long long* total) {
  atomicAdd(&sums[0], threadIdx.x);
  atomicOr(&sums[1], 1u << (threadIdx.x % 32));
  atomicMin(&extremes[0], static_cast<int>(threadIdx.x) - 7);
  atomicMax(&extremes[1], static_cast<int>(threadIdx.x) - 7);
  atomicAdd(total, 1ull << 33);
  atomicCAS(&sums[2], 0u, blockIdx.x + 1);
}

void atomics_lose_nothing() {
  Device<unsigned> sums(std::vector<unsigned>{0, 0, 0});
  Device<int> extremes(std::vector<int>{0, 0});
  Device<unsigned long long> total(std::vector<unsigned long long>{0});
  CHECK(ZO2_LAUNCH(count_atomically, 3, 64, 0, nullptr, sums.data, extremes.data, total.data) == cudaSuccess);
  const auto sum = sums.read();
  CHECK(sum[0] == 3 * 63 * 32 && sum[1] == 0xffffffffu && sum[2] >= 1 && sum[2] <= 3);
  CHECK(extremes.read() == (std::vector<int>{-7, 56}));
  CHECK(total.read()[0] == 192ull << 33);
}

// ---- shared memory

struct Parts {
  float value[64];
  int index[64];
};

__global__ void reverse(const float* in, float* out) {
  ZO2_SHARED_DYNAMIC(Parts, parts);
  ZO2_SHARED_STATIC(float[64], copy);
  const unsigned thread = threadIdx.x;
  parts->value[thread] = in[blockIdx.x * 64 + thread];
  parts->index[thread] = 63 - static_cast<int>(thread);
  __syncthreads();
  copy[thread] = parts->value[parts->index[thread]];
  __syncwarp();
  out[blockIdx.x * 64 + thread] = copy[thread];
}

void blocks_have_shared_memory_of_their_own() {
  std::vector<float> in(64 * 7);
  for (size_t index = 0; index < in.size(); ++index) in[index] = static_cast<float>(index);
  Device<float> source(in);
  Device<float> out(in.size());
  CHECK(ZO2_LAUNCH(reverse, 7, 64, sizeof(Parts), nullptr, source.data, out.data) == cudaSuccess);
  const auto got = out.read();
  for (size_t index = 0; index < in.size(); ++index) CHECK(got[index] == in[index / 64 * 64 + 63 - index % 64]);
}

__global__ void read_uninitialised(float* out) {
  ZO2_SHARED_STATIC(float[32], values);
  out[threadIdx.x] = values[threadIdx.x];  // [uninitialised]
}

void shared_memory_starts_as_nan() {
  float* out;
  CHECK(cudaMalloc(reinterpret_cast<void**>(&out), 128) == cudaSuccess);
  std::vector<float> got(32, 0);
  expect(__FILE__, "uninitialised shared memory", zo2::test::kRaceBuild ? "initcheck" : "", {}, [&] {
    CHECK(ZO2_LAUNCH(read_uninitialised, 1, 32, 0, nullptr, out) == cudaSuccess);
    if (!zo2::test::kRaceBuild) CHECK(cudaMemcpy(got.data(), out, 128, cudaMemcpyDeviceToHost) == cudaSuccess);
  });
  for (const float value : got) CHECK(zo2::test::kRaceBuild || std::isnan(value));
}

// ---- asynchronous copies

__global__ void copy_asynchronously(const float* in, float* out) {
  ZO2_SHARED_STATIC(float[8], buffer);
  float* first = buffer;
  float* second = buffer + 4;
  cp_async_16(first, in, 16);
  cp_async_commit();
  cp_async_16(second, in + 4, 8);
  cp_async_commit();
  cp_async_wait<1>();
  for (int index = 0; index < 4; ++index) out[index] = first[index];
  cp_async_wait<0>();
  for (int index = 0; index < 4; ++index) out[4 + index] = second[index];
}

void asynchronous_copies_land_at_the_wait() {
  Device<float> in(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  Device<float> out(8);
  CHECK(ZO2_LAUNCH(copy_asynchronously, 1, 1, 0, nullptr, in.data, out.data) == cudaSuccess);
  CHECK(out.read() == (std::vector<float>{1, 2, 3, 4, 5, 6, 0, 0}));
}

// ---- tensor cores

template <bool kTransposed>
__global__ void load_matrices(const uint16_t* in, uint32_t* out) {
  ZO2_SHARED_STATIC(uint16_t[4 * 64], matrices);
  for (int index = static_cast<int>(threadIdx.x); index < 256; index += 32) matrices[index] = in[index];
  __syncthreads();
  uint32_t registers[4];
  if (kTransposed) {
    ldmatrix_x4_trans(registers, matrices + threadIdx.x * 8);
  } else {
    ldmatrix_x4(registers, matrices + threadIdx.x * 8);
  }
  for (int matrix = 0; matrix < 4; ++matrix) out[threadIdx.x * 4 + matrix] = registers[matrix];
}

void ldmatrix_gives_each_lane_its_pair() {
  std::vector<uint16_t> in(256);
  for (size_t index = 0; index < in.size(); ++index) in[index] = static_cast<uint16_t>(index);
  Device<uint16_t> source(in);
  Device<uint32_t> out(128);
  for (const bool transposed : {false, true}) {
    CHECK((transposed ? ZO2_LAUNCH(load_matrices<true>, 1, 32, 0, nullptr, source.data, out.data)
                      : ZO2_LAUNCH(load_matrices<false>, 1, 32, 0, nullptr, source.data, out.data)) == cudaSuccess);
    const auto got = out.read();
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t matrix = 0; matrix < 4; ++matrix) {
        const uint32_t row = lane / 4;
        const uint32_t column = lane % 4 * 2;
        const uint32_t low = matrix * 64 + (transposed ? column * 8 + row : row * 8 + column);
        const uint32_t high = low + (transposed ? 8 : 1);
        CHECK(got[lane * 4 + matrix] == (low | high << 16), "lane %u matrix %u", lane, matrix);
      }
    }
  }
}

struct ToF16 {
  static uint16_t bits(float value) { return __half_raw(__float2half_rn(value)).x; }
  static float widened(float value) { return __half2float(__float2half_rn(value)); }
  using Type = F16;
};
struct ToBf16 {
  static uint16_t bits(float value) { return __nv_bfloat16_raw(__float2bfloat16_rn(value)).x; }
  static float widened(float value) { return __bfloat162float(__float2bfloat16_rn(value)); }
  using Type = BF16;
};

// One product of a 16 x 16 and a 16 x 8 matrix, the fragments filled by the table in the PTX manual. b is stored by
// columns.
template <class Type>
__global__ void multiply_16(const uint16_t* a, const uint16_t* b, float* d) {
  const unsigned group = threadIdx.x / 4;
  const unsigned pair = threadIdx.x % 4 * 2;
  const auto two = [](const uint16_t* at) { return static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 16; };
  uint32_t left[4];
  for (unsigned index = 0; index < 4; ++index)
    left[index] = two(a + (group + index % 2 * 8) * 16 + pair + index / 2 * 8);
  uint32_t right[2];
  for (unsigned index = 0; index < 2; ++index) right[index] = two(b + group * 16 + pair + index * 8);
  float sum[4] = {1, 2, 3, 4};
  mma_m16n8k16(sum, left, right, typename Type::Type{});
  for (unsigned index = 0; index < 4; ++index) d[(group + index / 2 * 8) * 8 + pair + index % 2] = sum[index];
}

template <class Type>
void product_of_16_bit_operands() {
  std::vector<float> a(256), b(128);
  std::vector<uint16_t> a_bits(256), b_bits(128);
  for (uint32_t index = 0; index < 256; ++index) {
    a[index] = Type::widened(value_of(index + 1));
    a_bits[index] = Type::bits(value_of(index + 1));
  }
  for (uint32_t index = 0; index < 128; ++index) {
    b[index] = Type::widened(value_of(index + 1001));
    b_bits[index] = Type::bits(value_of(index + 1001));
  }
  Device<uint16_t> left(a_bits), right(b_bits);
  Device<float> out(128);
  CHECK(ZO2_LAUNCH(multiply_16<Type>, 1, 32, 0, nullptr, left.data, right.data, out.data) == cudaSuccess);
  const auto got = out.read();
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = 1 + row / 8 * 2 + column % 2;
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row * 16 + k]) * b[column * 16 + k];
      CHECK(std::abs(sum - got[row * 8 + column]) < 2e-6, "(%d, %d): %g, not %g", row, column, got[row * 8 + column],
            sum);
    }
  }
}

__global__ void multiply_tf32(const float* a, const float* b, float* d, uint32_t* rounded) {
  const unsigned group = threadIdx.x / 4;
  const unsigned k = threadIdx.x % 4;
  uint32_t left[4];
  for (unsigned index = 0; index < 4; ++index)
    left[index] = to_tf32(a[(group + index % 2 * 8) * 8 + k + index / 2 * 4]);
  uint32_t right[2];
  for (unsigned index = 0; index < 2; ++index) right[index] = to_tf32(b[group * 8 + k + index * 4]);
  float sum[4] = {};
  mma_m16n8k8_tf32(sum, left, right);
  for (unsigned index = 0; index < 4; ++index) d[(group + index / 2 * 8) * 8 + k * 2 + index % 2] = sum[index];
  rounded[threadIdx.x] = left[0];
}

// Nearest value with 10 bits of mantissa, ties away from zero, through arithmetic in double precision.
float nearest_tf32(float value) {
  int exponent;
  const double mantissa = std::frexp(static_cast<double>(value), &exponent);
  return static_cast<float>(std::ldexp(std::round(mantissa * 2048), exponent - 11));
}

void product_of_tf32_operands() {
  std::vector<float> a(128), b(64);
  for (uint32_t index = 0; index < 128; ++index) a[index] = value_of(index + 5);
  a[0] = 1.0f + 0x1p-11f;  // a tie
  a[8] = -1.0f - 0x1p-11f;
  for (uint32_t index = 0; index < 64; ++index) b[index] = value_of(index + 555);
  Device<float> left(a), right(b), out(128);
  Device<uint32_t> rounded(32);
  CHECK(ZO2_LAUNCH(multiply_tf32, 1, 32, 0, nullptr, left.data, right.data, out.data, rounded.data) == cudaSuccess);
  const auto got = out.read();
  const auto bits = rounded.read();
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = 0;
      for (int k = 0; k < 8; ++k)
        sum += static_cast<double>(nearest_tf32(a[row * 8 + k])) * nearest_tf32(b[column * 8 + k]);
      CHECK(std::abs(sum - got[row * 8 + column]) < 2e-6, "(%d, %d): %g, not %g", row, column, got[row * 8 + column],
            sum);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const float expected = nearest_tf32(a[lane / 4 * 8 + lane % 4]);
    CHECK(memcmp(&expected, &bits[lane], 4) == 0, "lane %d", lane);
  }
}

// ---- mistakes. Each kernel is wrong in one way; the marked line is where the report must point.

__global__ void return_before_barrier() {
  if (threadIdx.x == 3) return;
  __syncthreads();  // [early return]
}

__global__ void diverge_at_barrier(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();  // [divergent one]
  } else {
    __syncthreads();  // [divergent two]
    out[0] = 1;
  }
}

__global__ void wait_for_an_exited_lane() {
  if (threadIdx.x == 5) return;
  __syncwarp();  // [exited lane]
}

__global__ void overlap_masks(int* out) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffffff00u;
  out[threadIdx.x] = __shfl_sync(mask, 1, 16);  // [overlapping masks]
}

__global__ void shuffle_from_outside(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 20);  // [lane outside]
}

__global__ void name_missing_lanes() {
  __syncwarp();  // [missing lanes]
}

__global__ void use_more_than_was_given(float* out) {
  ZO2_SHARED_DYNAMIC(Parts, parts);  // [shared too small]
  out[threadIdx.x] = parts->value[0];
}

__global__ void misalign_copy(const float* in) {
  ZO2_SHARED_STATIC(float[8], buffer);
  cp_async_16(buffer + 1, in, 16);  // [misaligned copy]
  cp_async_commit();
  cp_async_wait<0>();
}

__global__ void leave_copy_behind(const float* in) {
  ZO2_SHARED_STATIC(float[8], buffer);
  cp_async_16(buffer, in, 16);  // [copy left behind]
  cp_async_commit();
}

__global__ void copy_past_the_end(const float* in) {
  ZO2_SHARED_STATIC(float[8], buffer);
  cp_async_16(buffer, in + 4, 16);  // [copy past the end]
  cp_async_commit();
  cp_async_wait<0>();
}

__global__ void load_misaligned_rows(uint32_t* out) {
  ZO2_SHARED_STATIC(uint16_t[512], values);
  values[threadIdx.x] = 0;
  __syncthreads();
  uint32_t registers[4];
  ldmatrix_x4(registers, values + threadIdx.x * 9);  // [misaligned rows]
  out[threadIdx.x] = registers[0];
}

__global__ void wait_for_nobody() {
  if (threadIdx.x == 0) {
    __syncwarp(0x3u);  // [lane waits]
  } else {
    __syncthreads();  // [block waits]
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the process
__global__ void store_far_outside(float* out, long offset) {
  out[offset] = 1;  // [far outside]
}

__attribute__((noinline)) int descend(volatile int* above, int depth) {
  volatile int frame[256];
  frame[0] = above[0] + depth;
  return depth == 0 ? frame[0] : descend(frame, depth - 1) + frame[0];
}

__global__ void use_much_stack(int* out) {
  volatile int first[1] = {0};
  out[0] = descend(first, 1 << 20);
}
#endif

void mistakes_are_reported() {
  float* device;
  const auto fresh = [&] {
    CHECK(cudaMalloc(reinterpret_cast<void**>(&device), 32) == cudaSuccess && cudaMemset(device, 0, 32) == cudaSuccess);
  };
  const auto mistake = [&](const char* kind, std::initializer_list<const char*> marks,
                           const std::function<void()>& body) {
    expect(__FILE__, *marks.begin(), kind, marks, [&] {
      fresh();
      body();
    });
  };
  mistake("synccheck", {"early return"},
          [] { CHECK(ZO2_LAUNCH(return_before_barrier, 1, 64, 0, nullptr) == cudaSuccess); });
  mistake("synccheck", {"divergent one", "divergent two"},
          [&] { CHECK(ZO2_LAUNCH(diverge_at_barrier, 1, 64, 0, nullptr, device) == cudaSuccess); });
  mistake("synccheck", {"exited lane"},
          [] { CHECK(ZO2_LAUNCH(wait_for_an_exited_lane, 1, 32, 0, nullptr) == cudaSuccess); });
  mistake("synccheck", {"overlapping masks"},
          [&] { CHECK(ZO2_LAUNCH(overlap_masks, 1, 32, 0, nullptr, reinterpret_cast<int*>(device)) == cudaSuccess); });
  mistake("synccheck", {"lane outside"}, [&] {
    CHECK(ZO2_LAUNCH(shuffle_from_outside, 1, 32, 0, nullptr, reinterpret_cast<int*>(device)) == cudaSuccess);
  });
  mistake("synccheck", {"missing lanes"},
          [] { CHECK(ZO2_LAUNCH(name_missing_lanes, 1, 48, 0, nullptr) == cudaSuccess); });
  mistake("memcheck", {"shared too small"},
          [&] { CHECK(ZO2_LAUNCH(use_more_than_was_given, 1, 1, sizeof(Parts) - 4, nullptr, device) == cudaSuccess); });
  mistake("misaligned", {"misaligned copy"},
          [&] { CHECK(ZO2_LAUNCH(misalign_copy, 1, 1, 0, nullptr, device) == cudaSuccess); });
  mistake("cp.async", {"copy left behind"},
          [&] { CHECK(ZO2_LAUNCH(leave_copy_behind, 1, 1, 0, nullptr, device) == cudaSuccess); });
  mistake("memcheck", {"copy past the end"}, [&] {
    float* end = device + 4;  // 16 of the 32 bytes are left, and the kernel skips them
    CHECK(ZO2_LAUNCH(copy_past_the_end, 1, 1, 0, nullptr, end) == cudaSuccess);
  });
  mistake("misaligned", {"misaligned rows"}, [&] {
    CHECK(ZO2_LAUNCH(load_misaligned_rows, 1, 32, 0, nullptr, reinterpret_cast<uint32_t*>(device)) == cudaSuccess);
  });
#if !defined(__SANITIZE_ADDRESS__)
  mistake("memcheck", {"far outside"},
          [&] { CHECK(ZO2_LAUNCH(store_far_outside, 1, 1, 0, nullptr, device, 1L << 20) == cudaSuccess); });
  expect(__FILE__, "stack overflow", "stack", {}, [&] {
    fresh();
    CHECK(ZO2_LAUNCH(use_much_stack, 1, 1, 0, nullptr, reinterpret_cast<int*>(device)) == cudaSuccess);
  });
#endif
  mistake("deadlock", {"lane waits", "block waits"},
          [] { CHECK(ZO2_LAUNCH(wait_for_nobody, 1, 32, 0, nullptr) == cudaSuccess); });
}

}  // namespace

int main() {
  zo2::cuda::load_kernels();
  every_thread_runs_once();
  shuffles_read_their_lane();
  masks_that_do_not_overlap_work_side_by_side();
  votes_count_every_thread();
  atomics_lose_nothing();
  blocks_have_shared_memory_of_their_own();
  shared_memory_starts_as_nan();
  asynchronous_copies_land_at_the_wait();
  ldmatrix_gives_each_lane_its_pair();
  product_of_16_bit_operands<ToF16>();
  product_of_16_bit_operands<ToBf16>();
  product_of_tf32_operands();
  mistakes_are_reported();
  return zo2::test::report();
}
