#include "conversion.h"

#include <cstring>

#include "numerics/rounding.h"

namespace zo2::binding {
namespace {

struct F32 {
  using Stored = uint32_t;
  static constexpr Stored kInfinity = 0x7f800000u;
  static float widen(Stored x) { return numerics::bits_float(x); }
  static Stored narrow(float x) { return numerics::float_bits(x); }
};

struct F16 {
  using Stored = uint16_t;
  static constexpr Stored kInfinity = 0x7c00u;
  static float widen(Stored x) { return numerics::f16_to_f32(x); }
  static Stored narrow(float x) { return numerics::f32_to_f16(x); }
};

struct BF16 {
  using Stored = uint16_t;
  static constexpr Stored kInfinity = 0x7f80u;
  static float widen(Stored x) { return numerics::bf16_to_f32(x); }
  static Stored narrow(float x) { return numerics::f32_to_bf16(x); }
};

// A value of the target is finite only if its source was: rounding never turns infinity or NaN into a number.
template <class From, class To>
int64_t convert_as(const unsigned char* source, unsigned char* target, size_t count) {
  using FromStored = typename From::Stored;
  using ToStored = typename To::Stored;
  int64_t first = kAllFinite;
  for (size_t i = 0; i < count; ++i) {
    FromStored in;
    std::memcpy(&in, source + i * sizeof in, sizeof in);
    const ToStored out = std::is_same_v<From, To> ? static_cast<ToStored>(in) : To::narrow(From::widen(in));
    std::memcpy(target + i * sizeof out, &out, sizeof out);
    if ((out & To::kInfinity) == To::kInfinity && first == kAllFinite) first = static_cast<int64_t>(i);
  }
  return first;
}

template <class From>
int64_t convert_from(const unsigned char* source, unsigned char* target, zo2_dtype dtype, size_t count) {
  switch (dtype) {
    case ZO2_F16:
      return convert_as<From, F16>(source, target, count);
    case ZO2_BF16:
      return convert_as<From, BF16>(source, target, count);
    default:
      return convert_as<From, F32>(source, target, count);
  }
}

}  // namespace

size_t float_bytes(zo2_dtype dtype) {
  switch (dtype) {
    case ZO2_F32:
      return 4;
    case ZO2_F16:
    case ZO2_BF16:
      return 2;
    default:
      return 0;
  }
}

int64_t convert_range(const unsigned char* source, zo2_dtype source_dtype, unsigned char* target,
                      zo2_dtype target_dtype, size_t count) {
  switch (source_dtype) {
    case ZO2_F16:
      return convert_from<F16>(source, target, target_dtype, count);
    case ZO2_BF16:
      return convert_from<BF16>(source, target, target_dtype, count);
    default:
      return convert_from<F32>(source, target, target_dtype, count);
  }
}

}  // namespace zo2::binding
