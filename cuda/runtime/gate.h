// Where streams stop until they are let through.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace zo2::cuda {

class Device;

// The holds of one stream, numbered 1, 2, ... Hold n lets the stream pass once `passed` is at least n, which is how
// many holds are open without a closed one before them; that is enough, because a stream comes to its holds in order.
//
// On a device the stream waits for that word itself (stream_word.h): the runtime may run the host functions of
// all streams one by one, and a host function that waited would then hold streams that nobody asked to hold. The
// emulator, and drivers without that call, wait in a host function.
class HoldLine {
 public:
  // `passed`: in pinned memory, 0.
  explicit HoldLine(uint32_t* passed) : passed_(passed) {}

  // Enqueues the next hold, and its number. Throws Failure.
  uint32_t enqueue(cudaStream_t stream);
  void open(uint32_t number);
  // Opens all there are and all that will be.
  void cancel();

 private:
  static void CUDART_CB wait(void* self);
  void let_pass();  // with the lock

  uint32_t* const passed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> open_;  // by number, from 1
  bool cancelled_ = false;
  uint32_t waited_ = 0;  // holds that host functions have passed
};

// What a zo2_gate is.
class Gate {
 public:
  explicit Gate(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  Device& device() const { return *device_; }
  void open();
  bool is_open() const;
  // Hold `number` of `line` opens with the gate.
  void add(const std::shared_ptr<HoldLine>& line, uint32_t number);

 private:
  const std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  bool open_ = false;
  std::vector<std::pair<std::weak_ptr<HoldLine>, uint32_t>> holds_;
};

}  // namespace zo2::cuda
