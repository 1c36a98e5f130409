// Low-rank noise of a matrix (LOZO, arXiv 2410.07698): the element (r, c) has
//   z = sum over k = 0 .. rank - 1 of u_k[r] v_k[c], from 0 by one fma for each k in order,
// with u and v standard normal. A vector has the noise of gaussian.h.
//
// u is drawn anew with every step, v with every `interval` steps: its step is the last multiple of the interval. Both
// are positions of Gaussian streams with purposes of their own. In its stream, u_k[r] has the canonical index of the
// row's first element, and v_k[c] that of the first row's element c; 2^58 k is added, beyond any canonical index.
#pragma once

#include <stdint.h>

#include "numerics/gaussian.h"
#include "numerics/ops.h"
#include "numerics/philox.h"

namespace zo2::numerics {

// Where factor k has what stands at a canonical index.
ZO2_HD static inline uint64_t factor_index(uint64_t canonical, uint32_t k) {
  return canonical + (static_cast<uint64_t>(k) << 58);
}

// Element `index` of a Gaussian stream.
ZO2_HD static inline float gaussian_at(const NoiseStream& stream, uint64_t index) {
  float z[4];
  gaussian_quad(stream, index >> 2, z);
  const float low = (index & 1u) != 0 ? z[1] : z[0], high = (index & 1u) != 0 ? z[3] : z[2];
  return (index & 2u) != 0 ? high : low;
}

}  // namespace zo2::numerics
