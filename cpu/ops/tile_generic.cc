// Tile kernels in portable C++: one element at a time, through the functions of numerics/.
#include <string.h>

#include "cpu/ops/tile.h"
#include "numerics/blocks.h"
#include "numerics/gaussian.h"
#include "numerics/rademacher.h"
#include "numerics/rounding.h"
#include "numerics/update.h"

namespace zo2::cpu {
namespace {

using numerics::NoiseStream;
using numerics::PhiloxWords;

void gaussian(const NoiseStream& stream, uint64_t first, uint32_t n, float* z) {
  for (uint32_t i = 0; i < n; i += 4) numerics::gaussian_quad(stream, (first + i) >> 2, z + i);
}

void rademacher(const NoiseStream& stream, uint64_t first, uint32_t n, float* z) {
  for (uint32_t i = 0; i < n; i += 128) {
    const PhiloxWords words = numerics::philox_at(stream, (first + i) >> 7);
    for (uint32_t k = 0; k < 128; ++k) z[i + k] = numerics::rademacher_sign(words.x[k >> 5], k & 31u);
  }
}

void rounding_words(const NoiseStream& stream, uint64_t first, uint32_t n, uint32_t* words) {
  for (uint32_t i = 0; i < n; i += 4) {
    const PhiloxWords at = numerics::philox_at(stream, (first + i) >> 2);
    memcpy(words + i, at.x, sizeof at.x);
  }
}

void widen(zo2_dtype dtype, const void* from, uint32_t n, float* to) {
  const uint16_t* half = static_cast<const uint16_t*>(from);
  switch (dtype) {
    case ZO2_F16:
      for (uint32_t i = 0; i < n; ++i) to[i] = numerics::f16_to_f32(half[i]);
      break;
    case ZO2_BF16:
      for (uint32_t i = 0; i < n; ++i) to[i] = numerics::bf16_to_f32(half[i]);
      break;
    default:
      memcpy(to, from, n * sizeof(float));
  }
}

void narrow_one(zo2_dtype dtype, float x, uint32_t i, void* to) {
  switch (dtype) {
    case ZO2_F16:
      static_cast<uint16_t*>(to)[i] = numerics::f32_to_f16(x);
      break;
    case ZO2_BF16:
      static_cast<uint16_t*>(to)[i] = numerics::f32_to_bf16(x);
      break;
    default:
      static_cast<float*>(to)[i] = x;
  }
}

void narrow(zo2_dtype dtype, const float* from, uint32_t n, void* to) {
  for (uint32_t i = 0; i < n; ++i) narrow_one(dtype, from[i], i, to);
}

void update_begin(float b, const float* w, uint32_t n, float* u) {
  for (uint32_t i = 0; i < n; ++i) u[i] = numerics::update_begin(b, w[i]);
}

void update_add(float a, const float* z, uint32_t n, float* u) {
  for (uint32_t i = 0; i < n; ++i) u[i] = numerics::update_add(a, z[i], u[i]);
}

float round_to_wire(const TileRounding& rounding, float x, uint32_t i) {
  switch (rounding.dtype) {
    case ZO2_F16:
      return numerics::f16_to_f32(rounding.stochastic ? numerics::f32_to_f16_stochastic(x, rounding.words[i])
                                                      : numerics::f32_to_f16(x));
    case ZO2_BF16:
      return numerics::bf16_to_f32(rounding.stochastic ? numerics::f32_to_bf16_stochastic(x, rounding.words[i])
                                                       : numerics::f32_to_bf16(x));
    default:
      return x;
  }
}

// False when the new value is not finite and the old one stays.
bool replace(const TileRounding& rounding, float u, uint32_t i, float* w) {
  const float updated = round_to_wire(rounding, numerics::update_end(w[i], u), i);
  if (!numerics::f32_is_finite(updated)) return false;
  w[i] = updated;
  return true;
}

bool update_end(const TileRounding& rounding, const float* u, uint32_t n, uint32_t begin, uint32_t end, float* w) {
  bool all_finite = true;
  for (uint32_t i = 0; i < n; ++i) {
    if (!replace(rounding, u[i], i, w) && i >= begin && i < end) all_finite = false;
  }
  return all_finite;
}

bool update_once(const TileRounding& rounding, float a, float b, const float* z, uint32_t n, uint32_t begin,
                 uint32_t end, float* w) {
  bool all_finite = true;
  for (uint32_t i = 0; i < n; ++i) {
    const float u = numerics::update_add(a, z[i], numerics::update_begin(b, w[i]));
    if (!replace(rounding, u, i, w) && i >= begin && i < end) all_finite = false;
  }
  return all_finite;
}

template <class Format>
void widen_block_as(const uint8_t* q, uint8_t scale, float* w) {
  for (uint32_t i = 0; i < numerics::kBlock; ++i) w[i] = Format::value(q[i], scale);
}

void widen_block(zo2_dtype dtype, const uint8_t* q, uint8_t scale, float* w) {
  if (dtype == ZO2_I8) return widen_block_as<numerics::Int8>(q, scale, w);
  widen_block_as<numerics::E4m3>(q, scale, w);
}

template <class Format>
bool replace_block_as(const BlockRounding& rounding, const float* u, float* w, uint8_t* q, uint8_t* scale) {
  bool all_fit = true;
  float largest = 0;
  for (uint32_t i = 0; i < numerics::kBlock; ++i) {
    const float next = numerics::update_end(w[i], u[i]);
    if (numerics::fits_block<Format>(next)) {
      w[i] = next;
    } else {
      all_fit = false;
    }
    const float magnitude = numerics::bits_float(numerics::float_bits(w[i]) & 0x7fffffffu);
    if (magnitude > largest) largest = magnitude;
  }
  const uint32_t exponent = numerics::block_scale<Format>(largest);
  *scale = static_cast<uint8_t>(exponent);
  for (uint32_t i = 0; i < numerics::kBlock; ++i)
    q[i] = numerics::quantise<Format>(rounding.stochastic, exponent, rounding.stochastic ? rounding.words[i] : 0, w[i]);
  return all_fit;
}

bool replace_block(const BlockRounding& rounding, const float* u, float* w, uint8_t* q, uint8_t* scale) {
  if (rounding.dtype == ZO2_I8) return replace_block_as<numerics::Int8>(rounding, u, w, q, scale);
  return replace_block_as<numerics::E4m3>(rounding, u, w, q, scale);
}

void perturb(zo2_dtype dtype, const TileSide* sides, uint32_t side_count, const float* z, const float* w, uint32_t n) {
  for (uint32_t s = 0; s < side_count; ++s) {
    for (uint32_t i = 0; i < n; ++i) narrow_one(dtype, numerics::perturb(sides[s].eps, z[i], w[i]), i, sides[s].to);
  }
}

}  // namespace

const TileKernels& generic_tile_kernels() {
  static const TileKernels kernels = {"generic",   gaussian,      rademacher, rounding_words, widen,
                                      narrow,      update_begin,  update_add, update_end,     update_once,
                                      widen_block, replace_block, perturb};
  return kernels;
}

}  // namespace zo2::cpu
