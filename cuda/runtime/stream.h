// What a zo2_stream is: a CUDA stream with the rules of zo2.h for failures.
//
// Commands go to CUDA on the thread that enqueues them. What the host knows to have failed is exact: no later command
// reaches the device. What only the device knows (a fault that a check kernel found, here or in a stream that this one
// waited for) makes the later kernels of the stream return at once, by the word Launch::poison(); checkpoints carry it
// from one stream into another (ops/checkpoint.cuh). The host learns of it when a record fires, or, early, when it
// enqueues the next command. Copies that were queued before the host knew still run.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "contract/zo2.h"
#include "cuda/launch.h"
#include "cuda/runtime/delay.h"
#include "cuda/runtime/event.h"
#include "cuda/runtime/file_line.h"
#include "cuda/runtime/gate.h"
#include "cuda/runtime/lane.h"
#include "cuda/runtime/scratch.h"
#include "cuda/runtime/watcher.h"

namespace zo2::cuda {

class Device;

class Stream {
 public:
  Stream(std::shared_ptr<Device> device, std::string name);
  // Cancels what has not started, waits for what runs, fires every record. Waits too for streams that this one was made
  // to wait for.
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& name() const { return lane_->name(); }
  Device& device() const { return *device_; }

  // What the counters of zo2_device_info tell apart.
  enum class Counted { kCommand, kLaunch };
  enum class Uses { kCopies, kKernels };

  // Each of these enqueues and returns; all throw Failure(CANCELLED) once the stream was cancelled. `body` hands the
  // command to CUDA, here and now; what it throws poisons the stream. It is not called on a poisoned stream.
  void command(Counted counted, Uses uses, const std::function<void(const Launch&)>& body);
  // A command that the host does when the stream comes to it, and that the stream waits for: `work` reads or writes a
  // file, calls nothing of CUDA, and poisons the stream with what it throws.
  void file_command(std::function<void()> work, const FileLine::Touched& touched);
  void record(Event& event);
  void wait(const Event& event);
  void hold(Gate& gate);
  void poison(const zo2_error& cause);

  // Only inside a body.
  //
  // Device memory of at least `bytes` that only commands of this stream use: as much as the device's ScratchBook has
  // reserved is there, so that nothing is allocated for it.
  void* scratch(uint64_t bytes);
  // A copy of host memory in device memory, there when the next kernel of the body runs and until the next command that
  // asks. Allocates where that is more than was copied before, and more than kTableBytes.
  const void* table(const Launch& launch, const void* data, uint64_t bytes);
  PrepareTally* tally() const { return &lane_->device_words().tally; }

  // Any thread. From then on only records fire. Any number of times.
  void cancel();
  // Waits until the device has passed everything, and every record has fired.
  void join();

 private:
  // Of the memory for tables that a stream begins with: a list of some nine hundred pending updates.
  static constexpr uint64_t kTableBytes = 64 << 10;

  bool begin();  // with the lock: counts the command; false when the stream has failed
  void attempt(const std::function<void()>& step);
  void checkpoint(const Launch& launch);
  // Whether the host knows by now that commands of the stream from `ordinal` on are not to run; `past`: what they come
  // behind.
  static bool is_stopped(const Lane& lane, const Past& past, uint64_t ordinal);
  void absorb(const Record& record);
  void look_for_faults();
  Launch launch() const;

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Lane> lane_;
  std::shared_ptr<HoldLine> holds_;
  FileLine files_;
  Delay delay_;
  CudaStream stream_;
  std::shared_ptr<Watcher> watcher_;
  std::atomic<bool> cancelled_{false};

  std::mutex mutex_;  // of what follows; held while CUDA takes a command, which may block when its queue is full
  zo2_error error_{};
  uint64_t ordinal_ = 0;
  Past past_;
  Past pending_;  // what the next checkpoint looks at
  bool checkpoint_due_ = false;
  uint64_t last_checkpoint_ = 0;
  std::shared_ptr<Growing> scratch_;
  Growing table_;
};

}  // namespace zo2::cuda
