#include "block_conversion.h"

#include <algorithm>
#include <cmath>

#include "conversion.h"
#include "numerics/blocks.h"

namespace zo2::binding {
namespace {

// The index of the first element that has no place, and becomes 0, or kAllFinite.
template <class Format>
int64_t quantise_block(float* w, uint64_t count, unsigned char* q, unsigned char* scale) {
  int64_t first = kAllFinite;
  float largest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (!numerics::fits_block<Format>(w[i])) {
      if (first == kAllFinite) first = static_cast<int64_t>(i);
      w[i] = 0;
    }
    largest = std::max(largest, std::fabs(w[i]));
  }
  const uint32_t exponent = numerics::block_scale<Format>(largest);
  *scale = static_cast<unsigned char>(exponent);
  for (uint64_t i = 0; i < count; ++i) q[i] = numerics::quantise<Format>(false, exponent, 0, w[i]);
  return first;
}

float value_of(zo2_dtype dtype, unsigned char q, unsigned char scale) {
  return dtype == ZO2_I8 ? numerics::Int8::value(q, scale) : numerics::E4m3::value(q, scale);
}

}  // namespace

int64_t quantise_blocks(const unsigned char* source, zo2_dtype source_dtype, uint64_t first, const BlockPlace& target,
                        uint64_t begin, uint64_t count) {
  const uint64_t width = target.rows.width, per_row = BlockRows::blocks_of(width);
  int64_t bad = kAllFinite;
  for (uint64_t block = begin; block < begin + count; ++block) {
    const uint64_t column = block % per_row * ZO2_BLOCK, element = block / per_row * width + column;
    const uint64_t size = std::min<uint64_t>(ZO2_BLOCK, width - column), at = element - first;
    float w[ZO2_BLOCK];
    convert_range(source + at * float_bytes(source_dtype), source_dtype, reinterpret_cast<unsigned char*>(w), ZO2_F32,
                  size);
    const int64_t found = target.dtype == ZO2_I8
                              ? quantise_block<numerics::Int8>(w, size, target.q + element, target.scales + block)
                              : quantise_block<numerics::E4m3>(w, size, target.q + element, target.scales + block);
    if (bad == kAllFinite && found != kAllFinite) bad = static_cast<int64_t>(at) + found;
  }
  return bad;
}

int64_t dequantise_range(const BlockPlace& source, uint64_t first, unsigned char* target, zo2_dtype target_dtype,
                         uint64_t at, uint64_t count) {
  const uint64_t width = source.rows.width, per_row = BlockRows::blocks_of(width);
  int64_t bad = kAllFinite;
  for (uint64_t done = 0; done < count;) {
    const uint64_t element = first + at + done, column = element % width;
    const uint64_t rest = std::min<uint64_t>(ZO2_BLOCK - column % ZO2_BLOCK, width - column);
    const uint64_t size = std::min(rest, count - done);
    const unsigned char scale = source.scales[element / width * per_row + column / ZO2_BLOCK];
    float w[ZO2_BLOCK];
    for (uint64_t i = 0; i < size; ++i) w[i] = value_of(source.dtype, source.q[element + i], scale);
    const int64_t found = convert_range(reinterpret_cast<const unsigned char*>(w), ZO2_F32,
                                        target + (at + done) * float_bytes(target_dtype), target_dtype, size);
    if (bad == kAllFinite && found != kAllFinite) bad = static_cast<int64_t>(at + done) + found;
    done += size;
  }
  return bad;
}

}  // namespace zo2::binding
