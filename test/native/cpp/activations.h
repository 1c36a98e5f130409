// The activations in double precision.
#pragma once

#include <cmath>

#include "contract/zo2.h"

namespace zo2::test {

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
