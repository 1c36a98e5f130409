#include "submitter.h"

#include <cstdio>
#include <new>
#include <utility>

namespace zo2::binding {
namespace {

// What a notification of the backend carries back: outlives the device if need be, so that a late one finds a stopped
// queue.
struct Notice {
  std::shared_ptr<WorkQueue> queue;
  std::function<void(const zo2_error&)> task;
};

void fired(void* user, const zo2_error* error) {
  const std::unique_ptr<Notice> notice(static_cast<Notice*>(user));
  notice->queue->post({[task = std::move(notice->task), outcome = *error] { task(outcome); }, nullptr, true});
}

zo2_error error_of(zo2_status status, const char* message) {
  zo2_error error{};
  error.status = status;
  std::snprintf(error.message, sizeof error.message, "%s", message);
  return error;
}

}  // namespace

void Submitter::submit(std::shared_ptr<CommandList> list) {
  queue_->post({[this, list = std::move(list)] { issue_list(list); }, nullptr});
}

void Submitter::notify_when_fired(std::shared_ptr<Resource> event, Fired done) {
  auto cancel = [done] { done(error_of(ZO2_STATUS_CANCELLED, "the device was closed before the event fired")); };
  queue_->post(
      {[this, event = std::move(event), done = std::move(done)] { wait_for(event, done); }, std::move(cancel)});
}

void Submitter::run(zo2_device* device) {
  device_ = device;
  while (auto task = queue_->next()) {
    try {
      task->run();
    } catch (const std::bad_alloc&) {
      if (task->cancel) task->cancel();
    }
  }
}

void Submitter::cancel_queued() {
  for (Task& task : queue_->drain()) {
    if (task.always) {
      task.run();
    } else if (task.cancel) {
      task.cancel();
    }
  }
}

void Submitter::issue_list(const std::shared_ptr<CommandList>& list) {
  // A device that closes takes no more: a launch may block until those before it have run, and whoever waits hears of
  // it from abandon().
  for (size_t i = 0; i < list->commands.size() && !queue_->stopped(); ++i) {
    zo2_error error{};
    const Command& command = list->commands[i];
    if (const zo2_status status = issue(*backend_, command, &error); status != ZO2_OK) {
      error.status = status;
      poison(command, i, list->commands.size(), error);
    }
  }
  try {
    fence(list);
  } catch (const std::bad_alloc&) {
    // Without a fence nobody knows when the list has run: it stays until the device is closed.
    in_flight_[next_++] = {list, list->streams.size() + 1};
  }
}

void Submitter::poison(const Command& command, size_t number, size_t count, const zo2_error& cause) {
  zo2_error placed{};
  placed.status = cause.status;
  std::snprintf(placed.message, sizeof placed.message, "command %zu of %zu (%s): %.400s", number, count,
                kCommandNames[command.body.index()], cause.message);
  // A stream that cannot even take a failure is one that is poisoned or gone already.
  zo2_error ignored{};
  backend_->stream_fail(command.stream, &placed, &ignored);
}

void Submitter::fence(const std::shared_ptr<CommandList>& list) {
  if (list->streams.empty()) return;
  const uint64_t id = next_++;
  in_flight_[id] = {list, list->streams.size()};
  for (zo2_stream* stream : list->streams) {
    // A fence that cannot be set never fires: the list then stays until the device is closed.
    zo2_error error{};
    if (idle_fences_.empty()) {
      zo2_event* made = nullptr;
      if (backend_->event_create(device_, &made, &error) != ZO2_OK) continue;
      fences_.push_back(made);
      idle_fences_.push_back(made);
    }
    zo2_event* event = idle_fences_.back();
    if (backend_->stream_record(stream, event, &error) != ZO2_OK) continue;
    idle_fences_.pop_back();
    request(
        event,
        [this, id, event](const zo2_error&) {
          idle_fences_.push_back(event);
          const auto found = in_flight_.find(id);
          if (found != in_flight_.end() && --found->second.fences == 0) in_flight_.erase(found);
        },
        &error);
  }
}

void Submitter::wait_for(std::shared_ptr<Resource> event, Fired done) {
  const uint64_t id = next_++;
  auto* raw = event->as<zo2_event>();
  waiting_[id] = {std::move(event), std::move(done)};
  const auto finish = [this, id](const zo2_error& outcome) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return;
    const Fired told = std::move(found->second.fired);
    waiting_.erase(found);
    told(outcome);
  };
  zo2_error error{};
  if (const zo2_status status = request(raw, finish, &error); status != ZO2_OK) {
    error.status = status;
    finish(error);
  }
}

zo2_status Submitter::request(zo2_event* event, std::function<void(const zo2_error&)> task, zo2_error* error) {
  auto notice = std::make_unique<Notice>(Notice{queue_, std::move(task)});
  const zo2_status status = backend_->event_notify(event, fired, notice.get(), error);
  if (status == ZO2_OK) static_cast<void>(notice.release());  // `fired` owns it
  return status;
}

void Submitter::abandon() {
  for (auto& [id, waiting] : std::exchange(waiting_, {})) {
    waiting.fired(error_of(ZO2_STATUS_CANCELLED, "the device was closed before the event fired"));
  }
  in_flight_.clear();
  idle_fences_.clear();
  for (zo2_event* event : std::exchange(fences_, {})) backend_->event_destroy(event);
}

}  // namespace zo2::binding
