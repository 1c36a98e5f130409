#include "cpu/transfer.h"

#include <cinttypes>
#include <cstring>

#include "cpu/buffer.h"
#include "cpu/span.h"
#include "cpu/status.h"

namespace zo2::cpu {

void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  uint8_t* const to = resolve(stream.device(), "copy", dst, {"dst", bytes, 1, Kinds::kAny});
  const uint8_t* const from = resolve(stream.device(), "copy", src, {"src", bytes, 1, Kinds::kAny});
  if (overlap(to, bytes, from, bytes)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "copy: %" PRIu64 " bytes at offset %" PRIu64 " overlap the source at offset %" PRIu64 " of the same buffer",
         bytes, dst.offset, src.offset);
  }
  stream.work(Stream::Counted::kCommand, [=] {
    if (bytes != 0) std::memcpy(to, from, bytes);
  });
}

void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes) {
  uint8_t* const to = resolve(stream.device(), "fill", dst, {"dst", bytes, 1, Kinds::kAny});
  stream.work(Stream::Counted::kCommand, [=] {
    if (bytes != 0) std::memset(to, byte, bytes);
  });
}

void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count, int64_t row_base,
                    uint64_t row_bytes) {
  if (row_bytes == 0) fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: row_bytes is 0, but must be at least 1");
  if (count > UINT64_MAX / sizeof(int32_t) || count > UINT64_MAX / row_bytes) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: %" PRIu64 " rows of %" PRIu64 " bytes are more than 2^64 bytes", count, row_bytes);
  }
  const uint64_t bytes = count * row_bytes;
  uint8_t* const to = resolve(stream.device(), "gather", dst, {"dst", bytes, 1, Kinds::kAny});
  const uint8_t* const from = resolve(stream.device(), "gather", src, {"src", 0, 1, Kinds::kAny});
  const uint8_t* const list =
      resolve(stream.device(), "gather", rows, {"rows", count * sizeof(int32_t), sizeof(int32_t), Kinds::kHostOnly});
  const uint64_t present = (buffer_of(src).bytes() - src.offset) / row_bytes;
  stream.work(Stream::Counted::kCommand, [=] {
    const int32_t* const row_numbers = reinterpret_cast<const int32_t*>(list);
    for (uint64_t i = 0; i < count; ++i) {
      const int64_t row = row_numbers[i];
      const uint64_t place = static_cast<uint64_t>(row) - static_cast<uint64_t>(row_base);
      if (row < row_base || place >= present) {
        fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: rows[%" PRIu64 "] is %" PRId64 ", but the source holds %" PRIu64 " rows from row %" PRId64 " on", i,
             row, present, row_base);
      }
      const uint8_t* const source = from + place * row_bytes;
      if (overlap(to, bytes, source, row_bytes)) {
        fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: rows[%" PRIu64 "] is %" PRId64 ", whose bytes overlap the destination", i, row);
      }
      std::memcpy(to + i * row_bytes, source, row_bytes);
    }
  });
}

}  // namespace zo2::cpu
