// Events, and the records that they hold.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "contract/zo2.h"
#include "cpu/runtime/latch.h"
#include "cpu/runtime/notifier.h"

namespace zo2::cpu {

class Device;

// One stream_record: fires once, with the error of its stream or with ZO2_OK. Shared by the event, the stream that will
// fire it and the streams that wait for it, so that recording the event again or destroying it changes nothing for
// them.
class Record {
 public:
  // Sets the time and the error, lets waiters through and posts the notifications.
  void fire(const zo2_error& error, double seconds, Notifier& notifier) noexcept;

  Latch& latch() { return latch_; }
  // What it fired with; only once the latch is open.
  const zo2_error& error() const { return error_; }
  // When it fired; nothing before that.
  std::optional<double> seconds() const;
  // Has `notify` called once, when the record has fired.
  void notify(zo2_notify notify, void* user, Notifier& notifier);

 private:
  mutable std::mutex mutex_;
  bool fired_ = false;
  double seconds_ = 0;
  zo2_error error_{};
  std::list<Notification> notifications_;
  Latch latch_;
};

// What a zo2_event is.
class Event {
 public:
  explicit Event(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Device& device() const { return *device_; }
  void hold(std::shared_ptr<Record> record);
  // The latest record. Throws Failure(NOT_RECORDED) when there is none.
  std::shared_ptr<Record> latest() const;
  void notify(zo2_notify notify, void* user);
  // When the latest record fired, in seconds since the device was opened. Throws Failure(NOT_RECORDED) before that.
  double seconds() const;

 private:
  const std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  std::shared_ptr<Record> latest_;
};

}  // namespace zo2::cpu
