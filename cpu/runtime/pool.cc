#include "cpu/runtime/pool.h"

#include "cpu/runtime/thread.h"

namespace zo2::cpu {
namespace {

// How often an idle worker looks for the next loop before it sleeps: some ten microseconds, about what waking a thread
// costs. The ops of a program follow each other closer than that.
constexpr int kLooks = 200;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  try {
    for (unsigned worker = 0; worker + 1 < threads; ++worker) {
      workers_.push_back(start_thread("zo2 pool " + std::to_string(worker), [this, worker] { serve(worker); }));
    }
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::serve(unsigned worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int look = 0; look < kLooks && generation_.load(std::memory_order_relaxed) == seen; ++look) relax();
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock,
               [&] { return stopping_ || (body_ != nullptr && generation_.load(std::memory_order_relaxed) != seen); });
    if (stopping_) return;
    seen = generation_.load(std::memory_order_relaxed);
    const Body& body = *body_;
    const int64_t chunks = chunks_;
    ++inside_;
    lock.unlock();
    claim(body, chunks, worker);
    lock.lock();
    if (--inside_ == 0) left_.notify_one();
  }
}

void ThreadPool::claim(const Body& body, int64_t chunks, unsigned worker) {
  for (;;) {
    const int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks) return;
    try {
      body(chunk, worker);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (failure_ == nullptr || chunk < failed_chunk_) {
        failure_ = std::current_exception();
        failed_chunk_ = chunk;
      }
    }
  }
}

void ThreadPool::parallel_for(int64_t chunks, const Body& body) {
  if (chunks <= 0) return;
  std::lock_guard<std::mutex> serial(serial_);
  const bool shared = chunks > 1 && !workers_.empty();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    next_.store(0, std::memory_order_relaxed);
    failure_ = nullptr;
    if (shared) {
      body_ = &body;
      chunks_ = chunks;
      generation_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (shared) wake_.notify_all();
  claim(body, chunks, size() - 1);
  std::exception_ptr failure;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    body_ = nullptr;
    left_.wait(lock, [&] { return inside_ == 0; });
    failure = std::move(failure_);
    failure_ = nullptr;
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace zo2::cpu
