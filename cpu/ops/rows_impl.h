// Kernels on one row. Compiled once per flavour: see simd.h.
#pragma once

#include "cpu/ops/kernels.h"
#include "cpu/ops/vector_math.h"

namespace zo2::cpu::ZO2_ISA {

struct F32 {
  using Element = float;
  ZO2_INLINE Vec load8(const float* p) { return load(p); }
  ZO2_INLINE float load1(const float* p) { return *p; }
  ZO2_INLINE void store8(float* p, Vec a) { store(p, a); }
  ZO2_INLINE void store1(float* p, float a) { *p = a; }
};

struct F16 {
  using Element = uint16_t;
  ZO2_INLINE Vec load8(const uint16_t* p) { return load_f16(p); }
  ZO2_INLINE float load1(const uint16_t* p) { return numerics::f16_to_f32(*p); }
  ZO2_INLINE void store8(uint16_t* p, Vec a) { store_f16(p, a); }
  ZO2_INLINE void store1(uint16_t* p, float a) { *p = numerics::f32_to_f16(a); }
};

struct BF16 {
  using Element = uint16_t;
  ZO2_INLINE Vec load8(const uint16_t* p) { return load_bf16(p); }
  ZO2_INLINE float load1(const uint16_t* p) { return numerics::bf16_to_f32(*p); }
  ZO2_INLINE void store8(uint16_t* p, Vec a) { store_bf16(p, a); }
  ZO2_INLINE void store1(uint16_t* p, float a) { *p = numerics::f32_to_bf16(a); }
};

template <typename Storage>
static void widen_as(const void* source, float* out, int64_t count) {
  const auto* p = static_cast<const typename Storage::Element*>(source);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, Storage::load8(p + i));
  for (; i < count; i++) out[i] = Storage::load1(p + i);
}

template <typename Storage>
static void narrow_as(const float* source, void* out, int64_t count) {
  auto* p = static_cast<typename Storage::Element*>(out);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Storage::store8(p + i, load(source + i));
  for (; i < count; i++) Storage::store1(p + i, source[i]);
}

static void widen(zo2_dtype dtype, const void* source, float* out, int64_t count) {
  if (dtype == ZO2_F32) return widen_as<F32>(source, out, count);
  if (dtype == ZO2_F16) return widen_as<F16>(source, out, count);
  return widen_as<BF16>(source, out, count);
}

static void narrow(const float* source, zo2_dtype dtype, void* out, int64_t count) {
  if (dtype == ZO2_F32) return narrow_as<F32>(source, out, count);
  if (dtype == ZO2_F16) return narrow_as<F16>(source, out, count);
  return narrow_as<BF16>(source, out, count);
}

// Calls body(first, lanes) for whole vectors and then once for what is left; body loads and stores through load_lanes,
// store_lanes.
template <typename Body>
ZO2_INLINE void for_vectors(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, count - i);
}
ZO2_INLINE Vec load_lanes(const float* p, int64_t lanes) {
  return lanes == kLanes ? load(p) : load_part(p, lanes, 0.0f);
}
ZO2_INLINE void store_lanes(float* p, Vec a, int64_t lanes) { lanes == kLanes ? store(p, a) : store_part(p, a, lanes); }

static void add(float* sum, const float* x, int64_t count) {
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    store_lanes(sum + i, load_lanes(sum + i, lanes) + load_lanes(x + i, lanes), lanes);
  });
}

static void scale(float* row, float factor, int64_t count) {
  const Vec by = splat(factor);
  for_vectors(count, [&](int64_t i, int64_t lanes) { store_lanes(row + i, load_lanes(row + i, lanes) * by, lanes); });
}

template <int Activation>
ZO2_INLINE Vec activate(Vec y) {
  // With y second, a NaN stays NaN.
  if (Activation == ZO2_ACTIVATION_RELU) return maximum(splat(0.0f), y);
  if (Activation == ZO2_ACTIVATION_GELU) return gelu(y);
  if (Activation == ZO2_ACTIVATION_GELU_TANH) return gelu_tanh(y);
  if (Activation == ZO2_ACTIVATION_SILU) return silu(y);
  return y;
}

template <int Activation>
static void finish_linear_as(const LinearEnd& end, const float* product, const float* bias, const float* residual,
                             float* out, int64_t count) {
  const Vec by = splat(end.scale);
  const float* const within = end.inner ? residual : nullptr;
  const float* const behind = end.inner ? nullptr : residual;
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    Vec y = load_lanes(product + i, lanes) * by;
    if (bias) y = y + load_lanes(bias + i, lanes);
    if (within) y = y + load_lanes(within + i, lanes);
    y = activate<Activation>(y);
    if (behind) y = y + load_lanes(behind + i, lanes);
    store_lanes(out + i, y, lanes);
  });
}

static void finish_linear(const LinearEnd& end, const float* product, const float* bias, const float* residual,
                          float* out, int64_t count) {
  if (end.activation == ZO2_ACTIVATION_RELU)
    return finish_linear_as<ZO2_ACTIVATION_RELU>(end, product, bias, residual, out, count);
  if (end.activation == ZO2_ACTIVATION_GELU)
    return finish_linear_as<ZO2_ACTIVATION_GELU>(end, product, bias, residual, out, count);
  if (end.activation == ZO2_ACTIVATION_GELU_TANH)
    return finish_linear_as<ZO2_ACTIVATION_GELU_TANH>(end, product, bias, residual, out, count);
  if (end.activation == ZO2_ACTIVATION_SILU)
    return finish_linear_as<ZO2_ACTIVATION_SILU>(end, product, bias, residual, out, count);
  finish_linear_as<ZO2_ACTIVATION_NONE>(end, product, bias, residual, out, count);
}

template <int Activation>
static void gated_activation_as(const float* gate, const float* up, float* out, int64_t count) {
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    store_lanes(out + i, activate<Activation>(load_lanes(gate + i, lanes)) * load_lanes(up + i, lanes), lanes);
  });
}

static void gated_activation(const float* gate, const float* up, int activation, float* out, int64_t count) {
  if (activation == ZO2_ACTIVATION_RELU) return gated_activation_as<ZO2_ACTIVATION_RELU>(gate, up, out, count);
  if (activation == ZO2_ACTIVATION_GELU) return gated_activation_as<ZO2_ACTIVATION_GELU>(gate, up, out, count);
  if (activation == ZO2_ACTIVATION_GELU_TANH)
    return gated_activation_as<ZO2_ACTIVATION_GELU_TANH>(gate, up, out, count);
  if (activation == ZO2_ACTIVATION_SILU) return gated_activation_as<ZO2_ACTIVATION_SILU>(gate, up, out, count);
  gated_activation_as<ZO2_ACTIVATION_NONE>(gate, up, out, count);
}

static void rotate(const float* x, const float* cosines, const float* sines, float* out, int64_t count) {
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    const Vec a = load_lanes(x + i, lanes), b = load_lanes(x + count + i, lanes);
    const Vec c = load_lanes(cosines + i, lanes), s = load_lanes(sines + i, lanes);
    store_lanes(out + i, a * c - b * s, lanes);
    store_lanes(out + count + i, b * c + a * s, lanes);
  });
}

// Four vectors of partial sums: short chains, so that rounding errors of long rows stay small.
template <typename Term>
ZO2_INLINE float sum_of(int64_t count, Term term) {
  Vec s0 = splat(0.0f), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    s0 = s0 + term(i, kLanes);
    s1 = s1 + term(i + kLanes, kLanes);
    s2 = s2 + term(i + 2 * kLanes, kLanes);
    s3 = s3 + term(i + 3 * kLanes, kLanes);
  }
  for (; i + kLanes <= count; i += kLanes) s0 = s0 + term(i, kLanes);
  if (i < count) s1 = s1 + term(i, count - i);
  return lanes_sum((s0 + s1) + (s2 + s3));
}

static void layer_norm(const float* x, const float* gain, const float* bias, float epsilon, float* out, int64_t count) {
  const float n = static_cast<float>(count);
  const float mean = sum_of(count, [&](int64_t i, int64_t lanes) { return load_lanes(x + i, lanes); }) / n;
  const Vec center = splat(mean);
  const float variance = sum_of(count,
                                [&](int64_t i, int64_t lanes) {
                                  // Lanes beyond the row hold the mean, so that their difference is 0.
                                  const Vec d =
                                      (lanes == kLanes ? load(x + i) : load_part(x + i, lanes, mean)) - center;
                                  return d * d;
                                }) /
                         n;
  const Vec inverse = splat(1.0f / numerics::f32_sqrt(variance + epsilon));
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    const Vec normal = (load_lanes(x + i, lanes) - center) * inverse;
    const Vec offset = bias ? load_lanes(bias + i, lanes) : splat(0.0f);
    store_lanes(out + i, multiply_add(normal, load_lanes(gain + i, lanes), offset), lanes);
  });
}

static void rms_norm(const float* x, const float* gain, float epsilon, float* out, int64_t count) {
  const float squares = sum_of(count, [&](int64_t i, int64_t lanes) {
    const Vec v = load_lanes(x + i, lanes);
    return v * v;
  });
  const Vec inverse = splat(1.0f / numerics::f32_sqrt(squares / static_cast<float>(count) + epsilon));
  for_vectors(count, [&](int64_t i, int64_t lanes) {
    store_lanes(out + i, load_lanes(x + i, lanes) * inverse * load_lanes(gain + i, lanes), lanes);
  });
}

}  // namespace zo2::cpu::ZO2_ISA
