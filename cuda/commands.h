// The commands of zo2.h: checked by contract/, then handed to CUDA on the calling thread.
#pragma once

#include <memory>

#include "contract/layout.h"
#include "contract/zo2.h"
#include "cuda/runtime/owners.h"
#include "cuda/runtime/stream.h"

namespace zo2::cuda {

// What a zo2_layout is; contract/ sees the base. The segments lie on the device too.
class DeviceLayout : public contract::Layout {
 public:
  // Throws Failure: of contract::Layout, or OUT_OF_MEMORY.
  DeviceLayout(std::shared_ptr<Device> device, const zo2_segment* list, uint64_t count);
  ~DeviceLayout();

  Device& device() const { return *device_; }
  const zo2_segment* on_device() const { return reinterpret_cast<const zo2_segment*>(on_device_.data()); }

 private:
  const std::shared_ptr<Device> device_;
  DeviceArena on_device_;
};

// See the table in zo2.h. All throw Failure(INVALID_ARGUMENT), which names the field, before anything is enqueued. What
// is wrong with tables that the device reads fails when the command runs: row lists, ranges and labels, sequences,
// targets.
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

}  // namespace zo2::cuda
