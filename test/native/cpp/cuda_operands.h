// Operands for tests of the kernels that multiply: matrices given by a function, and the roundings of their values.
#pragma once

#include <functional>

#include "test/native/cpp/cuda_matrix.h"
#include "test/native/cpp/cuda_rig.h"
#include "test/native/cpp/random.h"

namespace zo2::test {

inline float to_dtype(float x, zo2_dtype dtype) {
  if (dtype == ZO2_F16) return numerics::f16_to_f32(numerics::f32_to_f16(x));
  if (dtype == ZO2_BF16) return numerics::bf16_to_f32(numerics::f32_to_bf16(x));
  return x;
}

// To 10 bits of mantissa, ties away from zero.
inline float to_tf32_reference(float x) {
  return numerics::bits_float((numerics::float_bits(x) + 0x1000u) & 0xffffe000u);
}

// A matrix that is on the device from the start; see DeviceMatrix for `gap` and `lead`.
class TestMatrix : public DeviceMatrix {
 public:
  TestMatrix(zo2_dtype dtype, int64_t rows, int64_t cols, int64_t gap, int64_t lead,
             const std::function<double(int64_t, int64_t)>& value)
      : DeviceMatrix(dtype, rows, cols, gap, lead) {
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t c = 0; c < cols; c++) set(r, c, value(r, c));
    }
    upload();
  }

  float at(int64_t row, int64_t col) const { return static_cast<float>(get(row, col)); }
};

}  // namespace zo2::test
