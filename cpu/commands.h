// The commands of zo2.h: checked by contract/, then queued for the thread of their stream.
#pragma once

#include <cstdint>
#include <memory>

#include "contract/layout.h"
#include "contract/zo2.h"
#include "cpu/runtime/stream.h"

namespace zo2::cpu {

// What a zo2_layout is; contract/ sees the base.
class DeviceLayout : public contract::Layout {
 public:
  // Throws Failure, of contract::Layout.
  DeviceLayout(std::shared_ptr<Device> device, const zo2_segment* list, uint64_t count)
      : contract::Layout(device.get(), list, count), device_(std::move(device)) {}

  Device& device() const { return *device_; }

 private:
  const std::shared_ptr<Device> device_;
};

// See the table in zo2.h. All throw Failure(INVALID_ARGUMENT), which names the field, before anything is enqueued. What
// is wrong with tables that an earlier command may still write fails when the command runs: row lists, ranges and
// labels, sequences, targets.
void enqueue_copy(Stream& stream, const zo2_span& dst, const zo2_span& src, uint64_t bytes);
void enqueue_fill(Stream& stream, const zo2_span& dst, uint8_t byte, uint64_t bytes);
void enqueue_gather(Stream& stream, const zo2_span& dst, const zo2_span& src, const zo2_span& rows, uint64_t count,
                    int64_t row_base, uint64_t row_bytes);
void enqueue_seal(Stream& stream, const zo2_span& seal, uint64_t index, const zo2_span& memory, uint64_t bytes,
                  const zo2_span& note);
void enqueue_prepare(Stream& stream, const zo2_prepare_args& args);
void enqueue_run(Stream& stream, const zo2_run_args& args);
void enqueue_loss(Stream& stream, const zo2_loss_args& args);
void enqueue_gradient(Stream& stream, const zo2_gradient_args& args);

}  // namespace zo2::cpu
