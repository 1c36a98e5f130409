#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "contract/zo2.h"
#include "errors.h"
#include "mailbox.h"
#include "promised.h"
#include "resource.h"
#include "submitter.h"
#include "work_queue.h"

namespace zo2::binding {

/*
 * A device behind its JavaScript object. The environment keeps it until its thread has been joined; handles of its
 * objects and promises on it are its users. It is closed by close() or dispose(), when its last user has gone (garbage
 * collection), or with its environment.
 *
 * Members are of the JavaScript thread unless they say otherwise.
 */
class DeviceCore : public std::enable_shared_from_this<DeviceCore> {
 public:
  using Opened = std::function<void(const std::optional<Failure>&)>;

  DeviceCore(const zo2_backend* backend, std::shared_ptr<Mailbox> mailbox);

  // Starts the submitter thread, which opens the device and calls `opened` (there) with the failure, if any.
  void start(const zo2_device_options& options, Opened opened);

  void add_user() { ++users_; }
  void remove_user();

  bool closing() const { return closing_; }
  // From here on every use of the device is refused, and its threads are told to stop.
  void request_close();
  // Resolved when the device is closed.
  void add_close_promise(Promised promised) { close_promises_.push_back(std::move(promised)); }
  void resolve_close_promises();
  // The thread has posted that it is done; all it still does is return.
  void join_finished();
  bool ended() const { return ended_; }
  // Opens every gate: whoever frees memory waits for what one holds.
  void open_gates() { table_->open_gates(); }
  // Makes the JavaScript thread wait until everything of this device has ended. The only such place, counted by
  // `waits`: it is for the end of an environment alone.
  void wait_until_closed();
  uint64_t waits() const { return waits_; }

  // A thread of its own for work on host memory (conversions), so that it never delays commands; started when first
  // needed.
  bool post_host_work(Task task);
  const WorkQueue& host_work() const { return host_queue_; }

  const zo2_backend& backend() const { return *backend_; }
  zo2_device* raw() const { return raw_; }  // valid once opened, until closing
  Submitter& submitter() { return submitter_; }
  const std::shared_ptr<ResourceTable>& table() const { return table_; }

 private:
  void thread_main(const zo2_device_options& options, const Opened& opened);

  const zo2_backend* const backend_;
  const std::shared_ptr<Mailbox> mailbox_;
  Submitter submitter_;
  const std::shared_ptr<ResourceTable> table_;
  WorkQueue host_queue_;
  std::thread thread_;
  std::thread host_thread_;  // joined by `thread_`
  zo2_device* raw_ = nullptr;
  size_t users_ = 0;
  bool closing_ = false;
  bool ended_ = false;
  uint64_t waits_ = 0;
  std::vector<Promised> close_promises_;
};

}  // namespace zo2::binding
