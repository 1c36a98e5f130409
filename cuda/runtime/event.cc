#include "cuda/runtime/event.h"

#include "contract/status.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/watcher.h"

namespace zo2::cuda {

void call(const std::list<Notification>& notifications) {
  for (const Notification& one : notifications) one.notify(one.user, &one.error);
}

std::optional<zo2_error> Record::judge() const {
  // A fault of the stream itself comes first: after one that it inherited, its own checks look at nothing.
  if (auto fault = origin_.lane->fault(origin_.ordinal)) return fault;
  for (const Seen& seen : origin_.past) {
    if (auto fault = seen.lane->fault(seen.ordinal)) return fault;
  }
  // What the host knew, it knew after everything that had reached the device by then.
  if (origin_.known.status != ZO2_OK) return origin_.known;
  if (auto cancellation = origin_.lane->cancellation(origin_.ordinal)) return cancellation;
  for (const Seen& seen : origin_.past) {
    if (auto cancellation = seen.lane->cancellation(seen.ordinal)) return cancellation;
  }
  return std::nullopt;
}

std::optional<zo2_error> Record::error_so_far() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!fired_) return judge();
  return error_.status == ZO2_OK ? std::nullopt : std::optional<zo2_error>(error_);
}

bool Record::fired_well() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return fired_ && error_.status == ZO2_OK;
}

double Record::passed_at() const noexcept {
  Clock& clock = origin_.device->clock();
  const std::optional<double> seconds =
      origin_.event ? clock.seconds(origin_.anchor, origin_.event.get()) : std::nullopt;
  return seconds ? *seconds : clock.host_seconds();
}

std::list<Notification> Record::fire(cudaError_t status) noexcept {
  const double seconds = passed_at();
  std::list<Notification> due;
  std::lock_guard<std::mutex> lock(mutex_);
  if (fired_) return due;
  contract::write_error(&error_, ZO2_OK, "");
  try {
    if (auto judged = judge()) {
      error_ = *judged;
    } else if (status != cudaSuccess) {
      error_ = named(origin_.lane->name(), ZO2_STATUS_DEVICE, describe_failure(status, "a command before the event"));
    }
  } catch (...) {
    contract::write_current_exception(&error_);
  }
  seconds_ = seconds;
  fired_ = true;
  for (Notification& one : notifications_) one.error = error_;
  due.swap(notifications_);
  return due;
}

std::optional<double> Record::seconds() const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (fired_) return seconds_;
  }
  // Nobody waits for a record without notifications, so it may have passed without having been fired.
  if (!origin_.event) return std::nullopt;
  const cudaError_t status = cudaEventQuery(origin_.event.get());
  ignore(status);
  if (status != cudaSuccess) return std::nullopt;
  return passed_at();
}

void Record::notify(zo2_notify notify, void* user) {
  std::list<Notification> one;
  one.push_back({notify, user, {}});
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (fired_) {
      one.front().error = error_;
    } else {
      notifications_.splice(notifications_.end(), one);
    }
  }
  if (one.empty()) origin_.watcher->expect(origin_.ordinal);
  call(one);
}

Event::~Event() {
  // An event of the runtime may be destroyed with the record.
  device_->enter_quietly();
  latest_ = nullptr;
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

double Event::seconds() const {
  device_->enter();
  const std::optional<double> seconds = latest()->seconds();
  if (!seconds)
    contract::fail(ZO2_STATUS_NOT_RECORDED, "the latest record of the event has not fired yet; wait for it first");
  return *seconds;
}

}  // namespace zo2::cuda
