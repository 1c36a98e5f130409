// Test mode: random pauses of a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace zo2::cuda {

class Delay {
 public:
  // Pauses of up to `longest` microseconds, drawn from `seed`; 0: none.
  Delay(uint32_t longest, uint64_t seed) : longest_(longest), state_(seed) {}

  bool enabled() const { return longest_ != 0; }
  // Enqueues the next pause. Throws Failure.
  void enqueue(cudaStream_t stream);
  // Ends the pause that is under way, and all that follow.
  void cancel();

 private:
  static void CUDART_CB pause(void* self);

  const uint32_t longest_;
  uint64_t state_;  // of the stream's host functions alone, which run one by one
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
};

}  // namespace zo2::cuda
