#include "device_core.h"

#include <utility>

#include "environment.h"

namespace zo2::binding {

DeviceCore::DeviceCore(const zo2_backend* backend, std::shared_ptr<Mailbox> mailbox)
    : backend_(backend),
      mailbox_(std::move(mailbox)),
      submitter_(backend),
      table_(std::make_shared<ResourceTable>(
          backend,
          [](void* self) {
            auto* core = static_cast<DeviceCore*>(self);
            core->submitter_.queue().post({[core] { core->table_->sweep(); }, nullptr});
          },
          this)) {}

void DeviceCore::start(const zo2_device_options& options, Opened opened) {
  thread_ = std::thread([this, options, opened = std::move(opened)] { thread_main(options, opened); });
}

void DeviceCore::thread_main(const zo2_device_options& options, const Opened& opened) {
  zo2_error error{};
  if (const zo2_status status = backend_->device_open(&options, &raw_, &error); status != ZO2_OK) {
    error.status = status;
    opened(failure_of(error, "openDevice"));
    submitter_.queue().stop();
  } else {
    opened(std::nullopt);
    submitter_.run(raw_);
  }
  host_queue_.stop();
  submitter_.cancel_queued();
  // Before the host thread is waited for: freeing memory there may wait for every stream, one that a gate holds among
  // them.
  table_->destroy_streams();
  if (host_thread_.joinable()) host_thread_.join();
  submitter_.abandon();
  table_->destroy_all();
  if (raw_ != nullptr) backend_->device_close(std::exchange(raw_, nullptr));
  mailbox_->post([this](Environment& environment, Napi::Env) { environment.forget(this); });
}

void DeviceCore::remove_user() {
  if (--users_ == 0) request_close();
}

void DeviceCore::request_close() {
  closing_ = true;
  submitter_.queue().stop();
  host_queue_.stop();
}

void DeviceCore::resolve_close_promises() {
  for (const Promised& promised : std::exchange(close_promises_, {})) {
    promised.resolve([](Napi::Env env) { return env.Undefined(); });
  }
}

void DeviceCore::join_finished() {
  if (thread_.joinable()) thread_.join();
  closing_ = true;
  ended_ = true;
}

void DeviceCore::wait_until_closed() {
  if (!thread_.joinable()) return;
  ++waits_;
  join_finished();
}

bool DeviceCore::post_host_work(Task task) {
  if (!host_thread_.joinable() && !closing_) {
    host_thread_ = std::thread([this] {
      while (auto next = host_queue_.next()) next->run();
      for (Task& left : host_queue_.drain()) {
        if (left.cancel) left.cancel();
      }
    });
  }
  return host_queue_.post(std::move(task));
}

}  // namespace zo2::binding
