#include "cuda/runtime/gate.h"

#include "cuda/runtime/check.h"
#include "cuda/runtime/stream_word.h"

namespace zo2::cuda {

uint32_t HoldLine::enqueue(cudaStream_t stream) {
  uint32_t number = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    open_.push_back(cancelled_);
    number = static_cast<uint32_t>(open_.size());
    if (cancelled_) let_pass();
  }
  if (!wait_for_word(stream, passed_, number)) ZO2_CUDA_CHECK(cudaLaunchHostFunc(stream, wait, this));
  return number;
}

void HoldLine::open(uint32_t number) {
  std::lock_guard<std::mutex> lock(mutex_);
  open_[number - 1] = true;
  let_pass();
}

void HoldLine::cancel() {
  std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  open_.assign(open_.size(), true);
  let_pass();
}

void HoldLine::let_pass() {
  uint32_t passed = *passed_;
  while (passed < open_.size() && open_[passed]) ++passed;
  __atomic_store_n(passed_, passed, __ATOMIC_RELEASE);
  changed_.notify_all();
}

void CUDART_CB HoldLine::wait(void* self) {
  HoldLine& line = *static_cast<HoldLine*>(self);
  std::unique_lock<std::mutex> lock(line.mutex_);
  const uint32_t number = ++line.waited_;
  line.changed_.wait(lock, [&] { return *line.passed_ >= number; });
}

void Gate::open() {
  std::vector<std::pair<std::weak_ptr<HoldLine>, uint32_t>> holds;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    holds.swap(holds_);
  }
  for (const auto& [line, number] : holds) {
    if (const std::shared_ptr<HoldLine> alive = line.lock()) alive->open(number);
  }
}

bool Gate::is_open() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return open_;
}

void Gate::add(const std::shared_ptr<HoldLine>& line, uint32_t number) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!open_) {
      holds_.emplace_back(line, number);
      return;
    }
  }
  line->open(number);
}

}  // namespace zo2::cuda
