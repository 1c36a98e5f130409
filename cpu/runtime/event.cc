#include "cpu/runtime/event.h"

#include "contract/status.h"
#include "cpu/runtime/device.h"

namespace zo2::cpu {

void Record::fire(const zo2_error& error, double seconds, Notifier& notifier) noexcept {
  std::list<Notification> due;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    fired_ = true;
    seconds_ = seconds;
    error_ = error;
    for (Notification& one : notifications_) one.error = error;
    due.swap(notifications_);
  }
  latch_.open();
  notifier.post(std::move(due));
}

std::optional<double> Record::seconds() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return fired_ ? std::optional<double>(seconds_) : std::nullopt;
}

void Record::notify(zo2_notify notify, void* user, Notifier& notifier) {
  std::list<Notification> one;
  one.push_back({notify, user, {}});
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!fired_) {
      notifications_.splice(notifications_.end(), one);
      return;
    }
    one.front().error = error_;
  }
  notifier.post(std::move(one));
}

void Event::hold(std::shared_ptr<Record> record) {
  std::lock_guard<std::mutex> lock(mutex_);
  latest_ = std::move(record);
}

std::shared_ptr<Record> Event::latest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (latest_ == nullptr)
    contract::fail(ZO2_STATUS_NOT_RECORDED, "the event was never recorded; record it on a stream first");
  return latest_;
}

void Event::notify(zo2_notify notify, void* user) { latest()->notify(notify, user, device_->notifier()); }

double Event::seconds() const {
  const std::optional<double> seconds = latest()->seconds();
  if (!seconds)
    contract::fail(ZO2_STATUS_NOT_RECORDED, "the latest record of the event has not fired yet; wait for it first");
  return *seconds;
}

}  // namespace zo2::cpu
