#include "cuda/runtime/event_pool.h"

#include <new>

namespace zo2::cuda {

EventPool::Lent EventPool::take() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      CudaEvent event = std::move(idle_.back());
      idle_.pop_back();
      return Lent(shared_from_this(), std::move(event));
    }
  }
  return Lent(shared_from_this(), make_cuda_event());
}

void EventPool::put_back(CudaEvent event) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  try {
    idle_.push_back(std::move(event));
  } catch (const std::bad_alloc&) {
    // The event is destroyed instead.
  }
}

}  // namespace zo2::cuda
