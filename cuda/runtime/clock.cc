#include "cuda/runtime/clock.h"

#include "cuda/runtime/check.h"

namespace zo2::cuda {
namespace {

// A float of milliseconds resolves a quarter of a microsecond at this distance, half of what the events themselves
// resolve.
constexpr std::chrono::seconds kLongest(4);

// Seconds from one event to another, which may have passed first. Nothing when the runtime cannot say.
std::optional<double> distance(cudaEvent_t from, cudaEvent_t to) {
  float milliseconds = 0;
  const cudaError_t status = cudaEventElapsedTime(&milliseconds, from, to);
  ignore(status);
  if (status != cudaSuccess) return std::nullopt;
  return static_cast<double>(milliseconds) / 1000;
}

}  // namespace

Clock::Clock() : stream_(make_cuda_stream()) {
  latest_ = make(nullptr);
  ZO2_CUDA_CHECK(cudaEventSynchronize(latest_->event.get()));  // so that every other event has a time above 0
}

std::shared_ptr<Clock::Anchor> Clock::make(std::shared_ptr<Anchor> previous) {
  auto anchor = std::make_shared<Anchor>();
  anchor->event = make_cuda_event();
  anchor->previous = std::move(previous);
  anchor->made = std::chrono::steady_clock::now();
  ZO2_CUDA_CHECK(cudaEventRecord(anchor->event.get(), stream_.get()));
  return anchor;
}

std::shared_ptr<Clock::Anchor> Clock::anchor() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (std::chrono::steady_clock::now() - latest_->made > kLongest) latest_ = make(latest_);
  return latest_;
}

std::optional<double> Clock::seconds(const std::shared_ptr<Anchor>& anchor, cudaEvent_t event) {
  std::lock_guard<std::mutex> lock(mutex_);
  // Anchors are resolved from the oldest on; a chain has one link for each few seconds in which nobody asked for a
  // time.
  while (anchor->previous != nullptr) {
    std::shared_ptr<Anchor> next = anchor;
    while (next->previous->previous != nullptr) next = next->previous;
    ZO2_CUDA_QUIET(cudaEventSynchronize(next->event.get()));
    next->seconds = next->previous->seconds + distance(next->previous->event.get(), next->event.get()).value_or(0);
    next->previous = nullptr;
  }
  ZO2_CUDA_QUIET(cudaEventSynchronize(anchor->event.get()));
  const std::optional<double> since = distance(anchor->event.get(), event);
  if (!since) return std::nullopt;
  return anchor->seconds + *since;
}

double Clock::host_seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - opened_).count();
}

}  // namespace zo2::cuda
