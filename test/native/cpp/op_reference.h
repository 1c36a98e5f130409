// What tests of several ops share: names of cases, and the activations in double precision.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>

#include "op_case.h"

namespace zo2::test {

inline std::string label(const char* op, int64_t m, int64_t n, int64_t k, zo2_dtype a, zo2_dtype b) {
  char text[160];
  snprintf(text, sizeof text, "%s %lld x %lld x %lld, %s from %s", op, static_cast<long long>(m),
           static_cast<long long>(n), static_cast<long long>(k), dtype_name(a), dtype_name(b));
  return text;
}

inline double activate(int activation, double y) {
  switch (activation) {
    case ZO2_ACTIVATION_RELU:
      return y > 0 ? y : 0;
    case ZO2_ACTIVATION_GELU:
      return y * 0.5 * std::erfc(-y / std::sqrt(2.0));
    case ZO2_ACTIVATION_GELU_TANH: {
      // 1 + tanh(u), which would cancel for negative u.
      const double u = std::sqrt(2 / 3.14159265358979323846) * (y + 0.044715 * y * y * y);
      return y / (1 + std::exp(-2 * u));
    }
    case ZO2_ACTIVATION_SILU:
      return y / (1 + std::exp(-y));
    default:
      return y;
  }
}

}  // namespace zo2::test
