// Events that are used again: making one takes the driver longer than recording it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "cuda/runtime/owners.h"

namespace zo2::cuda {

class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  // An event that goes back to the pool when it is let go of.
  class Lent {
   public:
    Lent() = default;
    Lent(std::shared_ptr<EventPool> pool, CudaEvent event) : pool_(std::move(pool)), event_(std::move(event)) {}
    Lent(Lent&&) = default;
    Lent& operator=(Lent&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(event_, other.event_);
      return *this;
    }
    ~Lent() {
      if (event_) pool_->put_back(std::move(event_));
    }

    cudaEvent_t get() const { return event_.get(); }
    explicit operator bool() const { return static_cast<bool>(event_); }

   private:
    std::shared_ptr<EventPool> pool_;
    CudaEvent event_;
  };

  // Throws Failure when the runtime has none.
  Lent take();

 private:
  void put_back(CudaEvent event) noexcept;

  std::mutex mutex_;
  std::vector<CudaEvent> idle_;
};

}  // namespace zo2::cuda
