#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "commands.h"
#include "contract/zo2.h"
#include "resource.h"
#include "work_queue.h"

namespace zo2::binding {

/*
 * Issues the commands of one device, on the device's submitter thread.
 *
 * Who runs where: JavaScript only pushes to the queue. The submitter thread makes every call to the backend that may
 * take time: it opens and closes the device, allocates and destroys, issues commands (a launch may block once the
 * device's queue is full). The backend's own threads call `fired` when a record fires; it only pushes to the queue.
 * Everything below but the queue is therefore touched by one thread.
 *
 * A list keeps its objects alive until the device has run it: behind its commands a fence is recorded on each of its
 * streams, and the list is let go when all its fences have fired. (Records fire on poisoned and on cancelled streams
 * too.)
 */
class Submitter {
 public:
  // Called once, on the submitter thread.
  using Fired = std::function<void(const zo2_error&)>;

  explicit Submitter(const zo2_backend* backend) : backend_(backend), queue_(std::make_shared<WorkQueue>()) {}

  WorkQueue& queue() { return *queue_; }

  // Any thread.
  void submit(std::shared_ptr<CommandList> list);
  void notify_when_fired(std::shared_ptr<Resource> event, Fired fired);

  // Submitter thread.
  void run(zo2_device* device);  // until the queue is stopped
  void cancel_queued();
  // After the streams are gone: what still waits hears that it was cancelled; lists and fences are let go.
  void abandon();

 private:
  struct InFlight {
    std::shared_ptr<CommandList> list;
    size_t fences;  // not fired yet
  };
  struct Waiting {
    std::shared_ptr<Resource> event;
    Fired fired;
  };

  void issue_list(const std::shared_ptr<CommandList>& list);
  void poison(const Command& command, size_t number, size_t count, const zo2_error& cause);
  void fence(const std::shared_ptr<CommandList>& list);
  void wait_for(std::shared_ptr<Resource> event, Fired fired);
  zo2_status request(zo2_event* event, std::function<void(const zo2_error&)> task, zo2_error* error);

  const zo2_backend* const backend_;
  const std::shared_ptr<WorkQueue> queue_;
  zo2_device* device_ = nullptr;
  uint64_t next_ = 0;
  std::unordered_map<uint64_t, InFlight> in_flight_;
  std::unordered_map<uint64_t, Waiting> waiting_;
  std::vector<zo2_event*> fences_;  // all that were ever made
  std::vector<zo2_event*> idle_fences_;
};

}  // namespace zo2::binding
