// What a zo2_stream is: one thread that runs a queue of commands in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>

#include "contract/zo2.h"
#include "cpu/runtime/event.h"
#include "cpu/runtime/latch.h"

namespace zo2::cpu {

class Device;
class Gate;

class Stream {
 public:
  Stream(std::shared_ptr<Device> device, std::string name);
  // Cancels what has not started, waits for the command that runs, joins the thread.
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& name() const { return name_; }
  Device& device() const { return *device_; }

  // What the counters of zo2_device_info tell apart.
  enum class Counted { kCommand, kLaunch };

  // Each of these enqueues and returns; all throw Failure(CANCELLED) once the stream was cancelled. `body` runs on the
  // stream's thread; what it throws poisons the stream.
  void command(Counted counted, std::function<void()> body);
  void record(Event& event);
  void wait(const Event& event);
  void hold(const Gate& gate);
  void poison(const zo2_error& cause);

  // Wakes the thread out of whatever it waits for; from then on it only fires records, and ends. Any number of times,
  // from any thread.
  void cancel();
  void join();

 private:
  struct Command {
    Counted counted;
    std::function<void()> body;
  };
  struct Fire {
    std::shared_ptr<Record> record;
  };
  struct Await {
    std::shared_ptr<Record> record;
  };
  struct Hold {
    std::shared_ptr<Latch> latch;
  };
  struct Poison {
    zo2_error cause;
  };
  using Entry = std::variant<Command, Fire, Await, Hold, Poison>;

  void enqueue(Entry entry);
  void serve();
  bool next(Entry& entry);
  void delay();
  void execute(Command& command);
  void execute(Fire& fire);
  void execute(Await& await);
  void execute(Hold& hold);
  void execute(Poison& poison);
  // Whether `latch` opened; if not, the stream was cancelled.
  bool pass(const std::shared_ptr<Latch>& latch);

  const std::shared_ptr<Device> device_;
  const std::string name_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  std::shared_ptr<Latch> blocked_on_;
  std::atomic<bool> cancelled_{false};  // set under mutex_

  // Of the stream's thread alone.
  zo2_error error_{};  // status ZO2_OK until the stream is poisoned
  uint64_t delay_state_;

  std::mutex joining_;
  std::thread thread_;
};

}  // namespace zo2::cpu
