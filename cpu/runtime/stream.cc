#include "cpu/runtime/stream.h"

#include <chrono>

#include "contract/status.h"
#include "cpu/runtime/device.h"
#include "cpu/runtime/gate.h"
#include "cpu/runtime/thread.h"

namespace zo2::cpu {
namespace {

// SplitMix64 (Steele, Lea and Flood 2014): the next of a sequence of well mixed 64-bit words.
uint64_t next_random(uint64_t& state) {
  uint64_t x = state += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

Stream::Stream(std::shared_ptr<Device> device, std::string name)
    : device_(std::move(device)), name_(std::move(name)), delay_state_(device_->enroll(this)) {
  try {
    thread_ = start_thread("zo2 " + name_, [this] { serve(); });
  } catch (...) {
    device_->dismiss(this);
    throw;
  }
}

Stream::~Stream() {
  cancel();
  join();
  device_->dismiss(this);
}

void Stream::enqueue(Entry entry) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (cancelled_)
      contract::fail(ZO2_STATUS_CANCELLED, "stream \"%s\" was closed; open the device again", name_.c_str());
    queue_.push_back(std::move(entry));
  }
  changed_.notify_one();
}

void Stream::command(Counted counted, std::function<void()> body) { enqueue(Command{counted, std::move(body)}); }

void Stream::record(Event& event) {
  auto record = std::make_shared<Record>();
  enqueue(Fire{record});
  event.hold(std::move(record));
}

void Stream::wait(const Event& event) { enqueue(Await{event.latest()}); }

void Stream::hold(const Gate& gate) { enqueue(Hold{gate.latch()}); }

void Stream::poison(const zo2_error& cause) {
  if (cause.status == ZO2_OK)
    contract::fail(ZO2_STATUS_INVALID_ARGUMENT,
                   "the cause of a failure has status ZO2_OK; give the status that failed");
  enqueue(Poison{cause});
}

void Stream::cancel() {
  std::shared_ptr<Latch> latch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    latch = blocked_on_;
  }
  changed_.notify_all();
  if (latch != nullptr) latch->wake();
}

void Stream::join() {
  std::lock_guard<std::mutex> lock(joining_);
  if (thread_.joinable()) thread_.join();
}

void Stream::serve() {
  for (Entry entry; next(entry);) {
    std::visit([this](auto& one) { execute(one); }, entry);
    entry = Poison{};  // what the entry kept alive goes before the stream sleeps
  }
}

bool Stream::next(Entry& entry) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return cancelled_ || !queue_.empty(); });
  if (queue_.empty()) return false;
  entry = std::move(queue_.front());
  queue_.pop_front();
  lock.unlock();
  delay();
  // Asked after the delay: a command that was only being delayed has not started.
  if (cancelled_ && error_.status == ZO2_OK) {
    contract::write_error(&error_, ZO2_STATUS_CANCELLED,
                          ("stream \"" + name_ + "\" was closed before the command ran").c_str());
  }
  return true;
}

void Stream::delay() {
  const uint32_t longest = device_->delay_microseconds();
  if (longest == 0) return;
  const std::chrono::microseconds pause(next_random(delay_state_) % (uint64_t{longest} + 1));
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, pause, [&] { return cancelled_.load(); });
}

void Stream::execute(Command& command) {
  if (error_.status != ZO2_OK) return;
  try {
    command.body();
  } catch (...) {
    zo2_error cause;
    contract::write_current_exception(&cause);
    contract::write_error(&error_, cause.status, ("stream \"" + name_ + "\": " + cause.message).c_str());
  }
  device_->count(command.counted);
}

void Stream::execute(Fire& fire) { fire.record->fire(error_, device_->seconds(), device_->notifier()); }

void Stream::execute(Await& await) {
  if (error_.status != ZO2_OK) return;
  // The record shares its lifetime with the latch inside it.
  if (!pass(std::shared_ptr<Latch>(await.record, &await.record->latch()))) return;
  if (await.record->error().status != ZO2_OK) error_ = await.record->error();
}

void Stream::execute(Hold& hold) {
  if (error_.status == ZO2_OK) pass(hold.latch);
}

void Stream::execute(Poison& poison) {
  if (error_.status == ZO2_OK) error_ = poison.cause;
}

bool Stream::pass(const std::shared_ptr<Latch>& latch) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    blocked_on_ = latch;
  }
  const bool opened = latch->wait(cancelled_);
  std::lock_guard<std::mutex> lock(mutex_);
  blocked_on_ = nullptr;
  return opened;
}

}  // namespace zo2::cpu
