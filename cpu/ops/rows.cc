#include "cpu/ops/ops.h"

namespace zo2::cpu {

const float* read_row(const OpKernels& kernels, const View& view, int64_t row, int64_t column, int64_t count,
                      float* memory) {
  const uint8_t* source = view.row(row, column);
  if (view.dtype == ZO2_F32) return reinterpret_cast<const float*>(source);
  kernels.widen(view.dtype, source, memory, count);
  return memory;
}

float* place_row(const View& out, int64_t row, int64_t column, float* memory) {
  return out.dtype == ZO2_F32 ? reinterpret_cast<float*>(out.row(row, column)) : memory;
}

void write_row(const OpKernels& kernels, const View& out, int64_t row, int64_t column, int64_t count,
               const float* values) {
  uint8_t* target = out.row(row, column);
  if (reinterpret_cast<const uint8_t*>(values) != target) kernels.narrow(values, out.dtype, target, count);
}

}  // namespace zo2::cpu
