// Units whose segments are stored in blocks: whole blocks and odd rows, rows shorter than a block, a slice of a tensor,
// frozen and gathered ones, one of fp32 between them, and weights of which some blocks are 0, tiny or huge.
#pragma once

#include "random.h"
#include "test/native/cpp/block_reference.h"

namespace zo2::test {

struct BlockUnit {
  std::vector<zo2_segment> segments;
  std::vector<int32_t> rows = {5, 0, 17, 2};
  uint64_t wire_bytes = 0;
  uint64_t scratch_bytes = 0;

  BlockUnit(uint32_t wire, uint32_t scratch, uint64_t base) {
    add(base, 6, 150, wire, scratch, ZO2_SEGMENT_DECAY);
    add(base + 1024, 4, 512, wire, scratch, 0);
    add(base + 3072, 1, 200, ZO2_F32, ZO2_F32, ZO2_SEGMENT_DECAY);
    add(base + 3328, 4, 200, wire, scratch, ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_DECAY);
    add(base + 4224 + 7 * 10, 33, 10, wire, scratch, ZO2_SEGMENT_DECAY, 7);
    add(base + 4864, 130, 1, wire, scratch, 0);
    add(base + 5120, 3, 77, wire, scratch, 0);
    add(base + 5504, 0, 64, wire, scratch, 0);
    add(base + 5504, 4, 200, wire, scratch, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_DECAY);
    add(base + 9216, 4, 64, wire, scratch, ZO2_SEGMENT_GATHERED);
    add(base + 10496, 4, 13, wire, scratch, ZO2_SEGMENT_GATHERED | ZO2_SEGMENT_FROZEN);
    add(base + 10752, 1, 9001, wire, scratch, ZO2_SEGMENT_DECAY);
  }
  void add(uint64_t canonical, uint64_t rows_of, uint64_t width, uint32_t wire, uint32_t scratch, uint32_t flags,
           uint32_t first_row = 0) {
    const bool blocked = wire == ZO2_I8 || wire == ZO2_E4M3;
    zo2_segment s = {};
    s.canonical = canonical;
    s.count = rows_of * width;
    s.wire_offset = wire_bytes;
    s.scratch_offset = scratch_bytes;
    s.row_width = blocked ? width : 0;
    s.wire_dtype = wire;
    s.scratch_dtype = scratch;
    s.flags = flags;
    s.first_row = blocked ? first_row : 0;
    wire_bytes += (s.count * (blocked ? 1 : 4) + 63) / 64 * 64;
    if (blocked) {
      // A gap, in which nothing may be written.
      s.scale_offset = wire_bytes + 64;
      wire_bytes = s.scale_offset + (rows_of * ((width + 63) / 64) + 63) / 64 * 64;
    }
    scratch_bytes += (s.count * dtype_bytes(scratch) + 63) / 64 * 64;
    segments.push_back(s);
  }
  bool gathered(const zo2_segment& s) const { return (s.flags & ZO2_SEGMENT_GATHERED) != 0; }
  uint64_t canonical(const zo2_segment& s, uint64_t element) const {
    if (!gathered(s)) return s.canonical + element;
    return s.canonical + static_cast<uint64_t>(rows[element / s.row_width]) * s.row_width + element % s.row_width;
  }
  // Calls f(first, count) for every block of a segment.
  template <class F>
  void each_block(const zo2_segment& s, F&& f) const {
    for (uint64_t row = 0; row < s.count; row += s.row_width) {
      for (uint64_t column = 0; column < s.row_width; column += 64)
        f(row + column, s.row_width - column < 64 ? s.row_width - column : 64);
    }
  }
  // Weights around `scale`: every fifth block is 0, every seventh and eighth far smaller and larger.
  void fill(unsigned char* wire, float scale) const {
    Random random(5);
    for (const zo2_segment& s : segments) {
      if (s.row_width == 0) {
        for (uint64_t e = 0; e < s.count; ++e)
          write_as(ZO2_F32, scale * static_cast<float>(random.real()), wire + s.wire_offset + 4 * e);
        continue;
      }
      uint64_t place = 0;
      each_block(s, [&](uint64_t first, uint64_t count) {
        const float size = place % 5 == 4   ? 0.0f
                           : place % 7 == 6 ? 0x1p-110f * scale
                           : place % 8 == 7 ? 0x1p+100f * scale
                                            : scale;
        std::vector<float> w;
        for (uint64_t i = 0; i < count; ++i) w.push_back(size * static_cast<float>(random.real()));
        const ReferenceBlock block = quantised(s.wire_dtype, w, nullptr);
        memcpy(wire + s.wire_offset + first, block.q.data(), count);
        wire[s.scale_offset + place++] = block.scale;
      });
    }
  }
};

}  // namespace zo2::test
