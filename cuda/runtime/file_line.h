// Reading and writing files in the order of a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace zo2::cuda {

// The file commands of one stream, numbered 1, 2, ... When the stream comes to one, a thread of the line does it, and
// the stream goes on once `passed`, the number of those that are done, has reached it. The host function that tells the
// thread returns at once and the stream waits for the word itself (stream_word.h), because the runtime may run the host
// functions of all streams one by one: none of them ever waits for a drive.
class FileLine {
 public:
  // What a command touches in host memory, for the race detector of the emulator.
  struct Touched {
    const void* memory;
    uint64_t bytes;
    bool write;
  };

  // `passed`: in pinned memory, 0. `name`: of the stream.
  FileLine(uint32_t* passed, std::string name) : passed_(passed), name_(std::move(name)) {}
  ~FileLine() { stop(); }
  FileLine(const FileLine&) = delete;
  FileLine& operator=(const FileLine&) = delete;

  // Enqueues the next. `work` must not throw, and calls nothing of CUDA. Throws Failure, and then it does not run, or
  // has run to its end.
  void enqueue(cudaStream_t stream, std::function<void()> work, const Touched& touched);
  // Ends the thread, behind the command that it is at. The stream has passed everything, or never will.
  void stop();

 private:
  static void CUDART_CB begin(void* self);
  static void CUDART_CB wait(void* self);
  void start();  // with the lock
  void serve();
  void withdraw(uint32_t number);

  uint32_t* const passed_;
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> commands_;  // those that are not done
  std::deque<Touched> touched_;                 // by those that host functions wait for
  uint32_t enqueued_ = 0;
  uint32_t begun_ = 0;   // the stream has come to so many
  uint32_t waited_ = 0;  // host functions have waited for so many
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace zo2::cuda
