#include "cuda/runtime/delay.h"

#include <chrono>

#include "cuda/runtime/check.h"

namespace zo2::cuda {
namespace {

// SplitMix64 (Steele, Lea and Flood 2014): the next of a sequence of well mixed 64-bit words.
uint64_t next_random(uint64_t& state) {
  uint64_t x = state += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

void Delay::enqueue(cudaStream_t stream) { ZO2_CUDA_CHECK(cudaLaunchHostFunc(stream, pause, this)); }

void Delay::cancel() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
}

void CUDART_CB Delay::pause(void* self) {
  Delay& delay = *static_cast<Delay*>(self);
  const std::chrono::microseconds length(next_random(delay.state_) % (uint64_t{delay.longest_} + 1));
  std::unique_lock<std::mutex> lock(delay.mutex_);
  delay.changed_.wait_for(lock, length, [&] { return delay.cancelled_; });
}

}  // namespace zo2::cuda
