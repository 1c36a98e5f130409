// The commands that compute: checked and copied here, run on the thread of their stream with the device's thread pool.
#pragma once

#include "contract/zo2.h"
#include "cpu/runtime/stream.h"

namespace zo2::cpu {

// See the table in zo2.h. All throw Failure(INVALID_ARGUMENT), which names the field, before anything is enqueued.

// Row numbers of gathered segments that are negative, or past the end of buffer noise, fail when the command runs.
void enqueue_prepare(Stream& stream, const zo2_prepare_args& args);
void enqueue_run(Stream& stream, const zo2_run_args& args);
// Ranges and labels that are out of bounds fail when the command runs.
void enqueue_loss(Stream& stream, const zo2_loss_args& args);
void enqueue_gradient(Stream& stream, const zo2_gradient_args& args);

}  // namespace zo2::cpu
