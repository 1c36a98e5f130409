#include "cuda/runtime/file_line.h"

#include <utility>

#include "cuda/runtime/build.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/stream_word.h"
#include "cuda/runtime/thread.h"

namespace zo2::cuda {

void FileLine::start() {
  if (!thread_.joinable()) thread_ = start_thread("zo2 " + name_, [this] { serve(); });
}

void FileLine::enqueue(cudaStream_t stream, std::function<void()> work, const Touched& touched) {
  uint32_t number = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    start();
    commands_.push_back(std::move(work));
    number = ++enqueued_;
  }
  try {
    ZO2_CUDA_CHECK(cudaLaunchHostFunc(stream, begin, this));
    if (wait_for_word(stream, passed_, number)) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      touched_.push_back(touched);
    }
    ZO2_CUDA_CHECK(cudaLaunchHostFunc(stream, wait, this));
  } catch (...) {
    withdraw(number);
    throw;
  }
}

// The stream will not wait for this one, so that its memory may go at any time.
void FileLine::withdraw(uint32_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (begun_ >= number) {
    changed_.wait(lock, [&] { return *passed_ >= number; });
  } else {
    commands_.back() = nullptr;
  }
}

void CUDART_CB FileLine::begin(void* self) {
  FileLine& line = *static_cast<FileLine*>(self);
  {
    std::lock_guard<std::mutex> lock(line.mutex_);
    ++line.begun_;
  }
  line.changed_.notify_all();
}

void CUDART_CB FileLine::wait(void* self) {
  FileLine& line = *static_cast<FileLine*>(self);
  std::unique_lock<std::mutex> lock(line.mutex_);
  const uint32_t number = ++line.waited_;
  const Touched touched = line.touched_.front();
  line.touched_.pop_front();
  line.changed_.wait(lock, [&] { return *line.passed_ >= number; });
  lock.unlock();
#if ZO2_EMULATED
  zo2_emu_host_function_touches(touched.memory, touched.bytes, touched.write);
#else
  static_cast<void>(touched);
#endif
}

void FileLine::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FileLine::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (uint32_t done = 0;;) {
    changed_.wait(lock, [&] { return stopping_ || begun_ > done; });
    if (begun_ == done) return;
    const std::function<void()> work = std::move(commands_.front());
    lock.unlock();
    if (work) work();
    lock.lock();
    commands_.pop_front();
    __atomic_store_n(passed_, ++done, __ATOMIC_RELEASE);
    changed_.notify_all();
  }
}

}  // namespace zo2::cuda
