// The commands that move bytes: checked here, run on the thread of the stream they are enqueued on.
#pragma once

#include <cstdint>

#include "contract/zo2.h"
#include "cpu/runtime/stream.h"

namespace zo2::cpu {

// See the table in zo2.h. All throw Failure(INVALID_ARGUMENT) before anything is enqueued.
void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes);
void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes);
// A row number outside `src` fails when the command runs: the list may still be written by an earlier one.
void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count,
                    int64_t row_base, uint64_t row_bytes);

}  // namespace zo2::cpu
