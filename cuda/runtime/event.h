// Events of the contract, and the records that they hold.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "contract/zo2.h"
#include "cuda/runtime/clock.h"
#include "cuda/runtime/event_pool.h"
#include "cuda/runtime/lane.h"

namespace zo2::cuda {

class Device;
class Watcher;

// One pending call. Lists of these are made when event_notify is called, so that firing a record allocates nothing.
struct Notification {
  zo2_notify notify;
  void* user;
  zo2_error error;
};
// Without a lock of ours: what is called may call the table.
void call(const std::list<Notification>& notifications);

// One stream_record: fires once, with the error of its stream or with ZO2_OK. Shared by the event, the watcher that
// will fire it and whoever asks, so that recording the event again or destroying it changes nothing for them.
//
// Which error it carries. Commands reach the device before anybody knows whether those before them will fail, so a
// record remembers what it comes behind: its own stream up to its ordinal, the streams that this one had waited for up
// to theirs, and what the host knew already. When it fires, all of that has run, and the first failure among it is the
// record's.
class Record {
 public:
  struct Origin {
    std::shared_ptr<Device> device;
    std::shared_ptr<Watcher> watcher;
    std::shared_ptr<Lane> lane;
    uint64_t ordinal;
    Past past;
    zo2_error known;        // what the host knew when it was made; status ZO2_OK: nothing
    EventPool::Lent event;  // none: nothing of the device stands before it but earlier records of its stream
    std::shared_ptr<Clock::Anchor> anchor;
  };
  explicit Record(Origin origin) : origin_(std::move(origin)) {}

  uint64_t ordinal() const { return origin_.ordinal; }
  const std::shared_ptr<Lane>& lane() const { return origin_.lane; }
  const Past& past() const { return origin_.past; }
  cudaEvent_t event() const { return origin_.event.get(); }  // null when there is none

  // The error that it carries, as far as that is known: nothing when it fired well or may still do so.
  std::optional<zo2_error> error_so_far() const;
  bool fired_well() const;

  // Called by the watcher when the event has passed (`status`: how waiting for it ended). What it returns is to be
  // called.
  std::list<Notification> fire(cudaError_t status) noexcept;

  // When it fired; nothing before that.
  std::optional<double> seconds() const;
  // Has `notify` called once, when the record has fired: here and now if it has.
  void notify(zo2_notify notify, void* user);

 private:
  std::optional<zo2_error> judge() const;
  double passed_at() const noexcept;

  const Origin origin_;
  mutable std::mutex mutex_;
  bool fired_ = false;
  double seconds_ = 0;
  zo2_error error_{};
  std::list<Notification> notifications_;
};

// What a zo2_event is.
class Event {
 public:
  explicit Event(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Device& device() const { return *device_; }
  void hold(std::shared_ptr<Record> record);
  // The latest record. Throws Failure(NOT_RECORDED) when there is none.
  std::shared_ptr<Record> latest() const;
  void notify(zo2_notify notify, void* user) { latest()->notify(notify, user); }
  // When the latest record fired, in seconds since the device was opened. Throws Failure(NOT_RECORDED) before that.
  double seconds() const;

 private:
  const std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  std::shared_ptr<Record> latest_;
};

}  // namespace zo2::cuda
