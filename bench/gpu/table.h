// For benches that go through the backend's table.
#pragma once

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "contract/zo2.h"

namespace zo2::bench {

inline void must(zo2_status status, const zo2_error& error) {
  if (status == ZO2_OK) return;
  fprintf(stderr, "%s\n", error.message);
  exit(1);
}

// Blocks until the record that an event holds has fired.
class Fired {
 public:
  Fired(const zo2_backend* table, zo2_event* event) {
    zo2_error error{};
    must(table->event_notify(event, call, this, &error), error);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return fired_; });
  }

 private:
  static void call(void* user, const zo2_error* error) {
    must(error->status, *error);
    auto* const self = static_cast<Fired*>(user);
    std::lock_guard<std::mutex> lock(self->mutex_);
    self->fired_ = true;
    self->changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool fired_ = false;
};

}  // namespace zo2::bench
