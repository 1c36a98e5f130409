#include "cuda/runtime/lane.h"

#include "contract/fault.h"
#include "contract/status.h"
#include "cuda/runtime/check.h"

namespace zo2::cuda {
namespace {

constexpr uint32_t kPerChunk = 64;
// Apart from each other's cache lines, on both sides.
constexpr uint64_t kPitch = 256;
static_assert(sizeof(DeviceWords) <= kPitch && sizeof(HostWords) <= kPitch, "a stream's words fit their place");

}  // namespace

WordsPool::Words WordsPool::take() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (left_ == 0) {
    Chunk chunk{DeviceArena(kPerChunk * kPitch), PinnedArena(kPerChunk * kPitch)};
    ZO2_CUDA_CHECK(cudaMemset(chunk.device.data(), 0, kPerChunk * kPitch));
    // cudaMemset may return before it is done, and our streams do not follow the default stream.
    ZO2_CUDA_CHECK(cudaStreamSynchronize(nullptr));
    chunks_.push_back(std::move(chunk));
    left_ = kPerChunk;
  }
  const uint64_t place = --left_ * kPitch;
  const Chunk& chunk = chunks_.back();
  return {reinterpret_cast<DeviceWords*>(chunk.device.data() + place),
          reinterpret_cast<HostWords*>(chunk.host.data() + place)};
}

std::optional<zo2_error> Lane::fault(uint64_t ordinal) const {
  const FaultSlot& mirror = words_.host->mirror;
  // The kernel writes `raised` last.
  if (__atomic_load_n(&mirror.raised, __ATOMIC_ACQUIRE) == 0 || mirror.command > ordinal)
    return failed_.load() <= ordinal ? std::optional<zo2_error>(failure_) : std::nullopt;
  return named(name_, ZO2_STATUS_INVALID_ARGUMENT, contract::describe(mirror.fault));
}

void Lane::fail(uint64_t ordinal, const zo2_error& error) {
  failure_ = error;
  failed_.store(ordinal);
  stop();
}

std::optional<zo2_error> Lane::cancellation(uint64_t ordinal) const {
  if (ordinal < cancelled_from_.load()) return std::nullopt;
  zo2_error error;
  contract::write_error(&error, ZO2_STATUS_CANCELLED,
                        ("stream \"" + name_ + "\" was closed before the command ran").c_str());
  return error;
}

zo2_error named(const std::string& stream, zo2_status status, const std::string& message) {
  zo2_error error;
  contract::write_error(&error, status, ("stream \"" + stream + "\": " + message).c_str());
  return error;
}

}  // namespace zo2::cuda
