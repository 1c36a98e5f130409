// The time of a device, in seconds since it was opened, from the times of its events.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include "cuda/runtime/owners.h"

namespace zo2::cuda {

// CUDA tells the distance of two events as a float of milliseconds, which after an hour has lost everything below a
// quarter of a millisecond. So events are measured from an anchor that is never much older than they are, and the
// anchors' own distances add up in fp64.
class Clock {
 public:
  struct Anchor {
    CudaEvent event;
    std::shared_ptr<Anchor> previous;  // null once `seconds` is known
    double seconds = 0;                // when `event` passed
    std::chrono::steady_clock::time_point made;
  };

  // The first anchor is time 0. The device must be current here and in every call.
  Clock();

  // The anchor for an event that is recorded now; a new one when the latest is more than a few seconds old. Throws
  // Failure.
  std::shared_ptr<Anchor> anchor();

  // When `event` passed, which it has. Nothing when the runtime cannot say. Waits for the anchor, which is recorded on
  // a stream of its own.
  std::optional<double> seconds(const std::shared_ptr<Anchor>& anchor, cudaEvent_t event);

  // The same time by the clock of the host; for records that no event stands for.
  double host_seconds() const;

 private:
  std::shared_ptr<Anchor> make(std::shared_ptr<Anchor> previous);

  const std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  CudaStream stream_;
  std::shared_ptr<Anchor> latest_;
};

}  // namespace zo2::cuda
