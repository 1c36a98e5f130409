// What blocks of 8-bit weights must be, from their definition alone (contract/zo2.h, zo2_segment): a table of the
// numbers of a format, double precision, a search. No code of numerics/blocks.h.
#pragma once

#include <math.h>

#include <vector>

#include "test/native/cpp/prepare_reference.h"

namespace zo2::test {

// The numbers of a format that are not negative, ascending; the place of one is its code.
inline std::vector<double> format_numbers(uint32_t dtype) {
  std::vector<double> numbers;
  for (int code = 0; code <= (dtype == ZO2_I8 ? 127 : 126); ++code) {
    const int exponent = code >> 3, mantissa = code & 7;
    numbers.push_back(dtype == ZO2_I8 ? code
                      : exponent == 0 ? ldexp(mantissa, -9)
                                      : ldexp(1 + mantissa / 8.0, exponent - 7));
  }
  return numbers;
}

inline double byte_value(uint32_t dtype, uint8_t q) {
  if (dtype == ZO2_I8) return static_cast<int8_t>(q);
  const double magnitude = format_numbers(dtype)[q & 127];
  return (q & 128) != 0 ? -magnitude : magnitude;
}

inline double block_value(uint32_t dtype, uint8_t q, uint8_t scale) {
  return q == 0 ? 0 : ldexp(byte_value(dtype, q), scale - 127);
}

struct ReferenceBlock {
  uint8_t scale;
  std::vector<uint8_t> q;
};

// `words`: of stochastic rounding; null for nearest.
inline ReferenceBlock quantised(uint32_t dtype, const std::vector<float>& w, const uint32_t* words) {
  const std::vector<double> numbers = format_numbers(dtype);
  double largest = 0;
  for (const float x : w) largest = fmax(largest, fabs(static_cast<double>(x)));
  ReferenceBlock block = {0, std::vector<uint8_t>(w.size(), 0)};
  if (largest == 0) return block;
  int exponent = dtype == ZO2_I8 ? -126 : -117;
  while (ldexp(largest, -exponent) > numbers.back()) ++exponent;
  block.scale = static_cast<uint8_t>(exponent + 127);
  for (size_t i = 0; i < w.size(); ++i) {
    const double x = ldexp(fabs(static_cast<double>(w[i])), -exponent);
    size_t below = 0;
    while (below + 1 < numbers.size() && numbers[below + 1] <= x) ++below;
    size_t code = below;
    if (below + 1 < numbers.size()) {
      const double rest = (x - numbers[below]) / (numbers[below + 1] - numbers[below]);
      const bool up =
          words != nullptr ? (words[i] >> 1) < floor(ldexp(rest, 31)) : rest > 0.5 || (rest == 0.5 && below % 2 == 1);
      code += up ? 1 : 0;
    }
    const bool negative = w[i] < 0 && code != 0;
    block.q[i] = static_cast<uint8_t>(dtype == ZO2_I8 ? (negative ? -static_cast<int>(code) : static_cast<int>(code))
                                                      : static_cast<int>(code) + (negative ? 128 : 0));
  }
  return block;
}

inline bool fits_block(uint32_t dtype, float w) {
  return fabs(static_cast<double>(w)) <= (dtype == ZO2_I8 ? ldexp(127, 121) : ldexp(448, 119));
}

// Prepares elements first .. first + count - 1 of a segment, which are one block; `index_of` gives their canonical
// indices. Returns the sticky flags.
template <class IndexOf>
uint32_t reference_block(const contract::PrepareCommand& command, const zo2_segment& s, uint64_t first, uint64_t count,
                         IndexOf&& index_of) {
  const uint32_t dtype = s.wire_dtype;
  unsigned char* const q = command.wire + s.wire_offset + first;
  const uint64_t per_row = (s.row_width + 63) / 64;
  unsigned char* const scale = command.wire + s.scale_offset + first / s.row_width * per_row + first % s.row_width / 64;
  const bool frozen = (s.flags & ZO2_SEGMENT_FROZEN) != 0;
  uint32_t flags = 0;
  std::vector<float> w;
  for (uint64_t i = 0; i < count; ++i) w.push_back(static_cast<float>(block_value(dtype, q[i], *scale)));
  ReferenceBlock block = {*scale, std::vector<uint8_t>(q, q + count)};
  for (const contract::PendingUpdate& update : command.updates) {
    bool finite = true;
    for (uint32_t d = 0; d < update.directions; ++d) finite = finite && isfinite(update.coefficients[d].value);
    if (!finite) flags |= ZO2_STICKY_NOT_FINITE;
    if (frozen) continue;
    const bool decay = (s.flags & ZO2_SEGMENT_DECAY) != 0;
    std::vector<uint32_t> words;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t index = index_of(first + i);
      float u = (decay ? static_cast<float>(update.learning_rate * update.weight_decay) : 0.0f) * w[i];
      for (uint32_t d = 0; d < update.directions; ++d) {
        const double g = finite ? static_cast<double>(update.coefficients[d].value) : 0.0;
        const float a = static_cast<float>(update.learning_rate * g / update.directions);
        const float* const table = update.z == nullptr ? nullptr : update.z + d * (update.z_stride / sizeof(float));
        u = fmaf(a, noise_of(update, d, table, s, index), u);
      }
      const float next = w[i] - u;
      if (fits_block(dtype, next)) {
        w[i] = next;
      } else {
        flags |= ZO2_STICKY_OVERFLOW;
      }
      const numerics::NoiseStream stream =
          numerics::noise_stream(update.seed, update.step, numerics::kPurposeRounding, 0);
      words.push_back(numerics::philox_at(stream, index >> 2).x[index & 3]);
    }
    block = quantised(dtype, w, command.rounding == ZO2_ROUND_STOCHASTIC ? words.data() : nullptr);
    for (uint64_t i = 0; i < count; ++i) w[i] = static_cast<float>(block_value(dtype, block.q[i], block.scale));
  }
  if (command.store && !frozen && !command.updates.empty()) {
    memcpy(q, block.q.data(), count);
    *scale = block.scale;
  }
  const bool plain = frozen || !command.draws;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = s.scratch_offset + (first + i) * dtype_bytes(s.scratch_dtype);
    const float z = plain ? 0.0f : noise_of(command, command.direction, command.z, s, index_of(first + i));
    for (uint32_t k = 0; k < command.side_count; ++k) {
      const contract::PrepareSide& side = command.sides[k];
      write_as(s.scratch_dtype, plain ? w[i] : fmaf(side.eps, z, w[i]), side.scratch + at);
    }
  }
  return flags;
}

}  // namespace zo2::test
