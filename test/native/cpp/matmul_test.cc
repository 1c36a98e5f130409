// The pieces of the matrix product below the op: our own blocked product (which a build with OpenBLAS would not reach
// otherwise), the library's, and the split into chunks.
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "cpu/ops/matmul.h"
#include "cpu/runtime/cpu_features.h"
#include "op_case.h"

namespace {

using zo2::cpu::Matrix;
using zo2::cpu::OpKernels;
using zo2::cpu::ProductSplit;
using zo2::test::Random;

using Multiply = void (*)(const OpKernels&, const Matrix&, const Matrix&, int64_t, int64_t, int64_t, float*, int64_t);

// Values that every float dtype holds exactly, so that one array of integers serves as the reference of all.
struct Stored {
  std::vector<int> values;
  std::vector<uint8_t> bytes;
  Matrix matrix;

  Stored(int64_t rows, int64_t cols, int64_t gap, zo2_dtype dtype, Random& random) {
    const int64_t stride = cols + gap, size = dtype == ZO2_F32 ? 4 : 2;
    bytes.assign(static_cast<size_t>(rows * stride * size), 0xff);
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t c = 0; c < cols; c++) {
        const int value = static_cast<int>(random.below(33)) - 16;
        values.push_back(value);
        const float single = static_cast<float>(value);
        const uint16_t half = dtype == ZO2_F16 ? zo2::numerics::f32_to_f16(single) : zo2::numerics::f32_to_bf16(single);
        std::memcpy(bytes.data() + (r * stride + c) * size, size == 4 ? static_cast<const void*>(&single) : &half,
                    static_cast<size_t>(size));
      }
    }
    matrix = {bytes.data(), dtype, stride};
  }
};

// Products of small integers are exact in fp32, whatever the order of additions: the result must be equal.
void test_product(const char* name, Multiply multiply, const OpKernels& kernels, int64_t m, int64_t n, int64_t k,
                  zo2_dtype a_dtype, zo2_dtype w_dtype) {
  Random random(static_cast<uint64_t>(m * 31 + n * 7 + k));
  const Stored a(m, k, 3, a_dtype, random), w(n, k, 1, w_dtype, random);
  const int64_t stride = n + 2;
  std::vector<float> tile(static_cast<size_t>(m * stride), 12345.0f);
  multiply(kernels, a.matrix, w.matrix, m, n, k, tile.data(), stride);
  int64_t wrong = 0, spilled = 0;
  for (int64_t r = 0; r < m; r++) {
    for (int64_t c = 0; c < stride; c++) {
      const float got = tile[static_cast<size_t>(r * stride + c)];
      if (c >= n) {
        spilled += got != 12345.0f;
        continue;
      }
      int64_t sum = 0;
      for (int64_t i = 0; i < k; i++)
        sum += int64_t{a.values[static_cast<size_t>(r * k + i)]} * w.values[static_cast<size_t>(c * k + i)];
      wrong += got != static_cast<float>(sum);
    }
  }
  CHECK(wrong == 0 && spilled == 0, "%s, %s, %lld x %lld x %lld, dtypes %d %d: %lld wrong, %lld written outside", name,
        kernels.name, static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(k), a_dtype, w_dtype,
        static_cast<long long>(wrong), static_cast<long long>(spilled));
}

void test_split(int64_t rows, int64_t columns) {
  const ProductSplit split(rows, columns);
  std::vector<uint8_t> covered(static_cast<size_t>(rows * columns));
  bool within = true;
  for (int64_t number = 0; number < split.chunks(); number++) {
    const ProductSplit::Chunk chunk = split.chunk(number);
    within = within && chunk.row >= 0 && chunk.rows >= 0 && chunk.row + chunk.rows <= rows && chunk.columns > 0 &&
             chunk.column + chunk.columns <= columns;
    for (int64_t r = chunk.row; within && r < chunk.row + chunk.rows; r++) {
      for (int64_t c = chunk.column; c < chunk.column + chunk.columns; c++)
        covered[static_cast<size_t>(r * columns + c)]++;
    }
  }
  bool once = true;
  for (uint8_t times : covered) once = once && times == 1;
  CHECK(within && once, "%lld x %lld: every element belongs to exactly one chunk", static_cast<long long>(rows),
        static_cast<long long>(columns));
}

}  // namespace

int main() {
  const int64_t shapes[][3] = {{1, 1, 1},     {3, 5, 2},      {8, 33, 40},    {9, 1, 1},   {9, 17, 255},
                               {12, 16, 256}, {13, 127, 257}, {24, 129, 520}, {50, 31, 7}, {131, 200, 64}};
  const zo2_dtype dtypes[] = {ZO2_F32, ZO2_F16, ZO2_BF16};
  for (bool vectorised : {false, true}) {
    if (vectorised && !zo2::cpu::has_avx2_fma_f16c()) continue;
    const OpKernels& kernels = zo2::cpu::op_kernels(vectorised);
    for (const auto& s : shapes) {
      for (zo2_dtype a : dtypes) {
        for (zo2_dtype w : dtypes) {
          test_product("own", zo2::cpu::multiply_tile_own, kernels, s[0], s[1], s[2], a, w);
          test_product(zo2::cpu::matmul_library(), zo2::cpu::multiply_tile, kernels, s[0], s[1], s[2], a, w);
        }
      }
    }
  }
  for (int64_t rows : {0, 1, 8, 255, 256, 257, 513, 1025}) {
    for (int64_t columns : {1, 63, 64, 65, 300, 770}) test_split(rows, columns);
  }
  return zo2::test::report();
}
