#include "cuda/runtime/stream.h"

#include <algorithm>

#include "contract/status.h"
#include "cuda/ops/checkpoint.cuh"
#include "cuda/ops/store.cuh"
#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"

namespace zo2::cuda {
namespace {

// So many commands may pass before a stream with kernels looks whether it was cancelled.
constexpr uint64_t kCheckpointInterval = 64;

std::shared_ptr<Lane> make_lane(Device& device, std::string name) {
  device.enter();
  return std::make_shared<Lane>(std::move(name), device.words().take());
}

}  // namespace

Stream::Stream(std::shared_ptr<Device> device, std::string name)
    : device_(std::move(device)),
      lane_(make_lane(*device_, std::move(name))),
      holds_(std::make_shared<HoldLine>(&lane_->host_words().passed)),
      files_(&lane_->host_words().transferred, lane_->name()),
      delay_(device_->delay_microseconds(), device_->enroll(this)) {
  try {
    stream_ = make_cuda_stream();
    scratch_ = device_->scratch().open();
    table_.at_least(kTableBytes);
    watcher_ = std::make_shared<Watcher>(*device_, lane_->name());
  } catch (...) {
    device_->dismiss(this);
    throw;
  }
}

Stream::~Stream() {
  cancel();
  join();
  device_->dismiss(this);
  lane_->retire();
}

bool Stream::begin() {
  if (cancelled_)
    contract::fail(ZO2_STATUS_CANCELLED, "stream \"%s\" was closed; open the device again", name().c_str());
  ++ordinal_;
  look_for_faults();
  return error_.status == ZO2_OK;
}

void Stream::look_for_faults() {
  if (error_.status != ZO2_OK) return;
  if (const auto fault = lane_->fault(ordinal_)) error_ = *fault;
  for (size_t i = 0; i < past_.size() && error_.status == ZO2_OK; ++i) {
    if (const auto fault = past_[i].lane->fault(past_[i].ordinal)) error_ = *fault;
  }
}

void Stream::attempt(const std::function<void()>& step) {
  try {
    device_->enter();
    step();
  } catch (...) {
    zo2_error cause;
    contract::write_current_exception(&cause);
    error_ = named(name(), cause.status, cause.message);
  }
}

Launch Stream::launch() const {
  return {stream_.get(), &lane_->device_words().slot, &lane_->host_words().mirror, ordinal_, &device_->traits()};
}

void Stream::command(Counted counted, Uses uses, const std::function<void(const Launch&)>& body) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!begin()) return;
  attempt([&] {
    const Launch now = launch();
    if (delay_.enabled()) {
      delay_.enqueue(stream_.get());
      checkpoint_due_ = true;
    }
    if (uses == Uses::kKernels) {
      lane_->note_kernels(ordinal_);
      checkpoint(now);
    }
    body(now);
  });
  device_->count(counted);
}

bool Stream::is_stopped(const Lane& lane, const Past& past, uint64_t ordinal) {
  if (lane.stopped() || lane.fault(ordinal)) return true;
  return std::any_of(past.begin(), past.end(), [](const Seen& seen) { return seen.lane->fault(seen.ordinal); });
}

void Stream::file_command(std::function<void()> work, const FileLine::Touched& touched) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!begin()) return;
  attempt([&] {
    if (delay_.enabled()) delay_.enqueue(stream_.get());
    const auto guarded = [lane = lane_, past = past_, ordinal = ordinal_, work = std::move(work)] {
      if (is_stopped(*lane, past, ordinal)) return;
      try {
        work();
      } catch (...) {
        zo2_error cause;
        contract::write_current_exception(&cause);
        lane->fail(ordinal, named(lane->name(), cause.status, cause.message));
      }
    };
    files_.enqueue(stream_.get(), guarded, touched);
    // Here and now, so that a failure raises the slot with the number of this command: streams that wait for it look
    // there.
    lane_->note_kernels(ordinal_);
    checkpoint_due_ = true;
    checkpoint(launch());
  });
  device_->count(Counted::kCommand);
}

void Stream::checkpoint(const Launch& launch) {
  if (!checkpoint_due_ && pending_.empty() && ordinal_ - last_checkpoint_ < kCheckpointInterval) return;
  Checkpoint checkpoint = {};
  checkpoint.stopped = &lane_->host_words().stopped;
  for (size_t i = 0; i < pending_.size() || i == 0; i += kCheckpointSources) {
    checkpoint.count = static_cast<uint32_t>(std::min<size_t>(kCheckpointSources, pending_.size() - i));
    for (uint32_t k = 0; k < checkpoint.count; ++k) {
      const Seen& seen = pending_[i + k];
      checkpoint.sources[k] = {&seen.lane->device_words().slot, seen.ordinal};
    }
    ZO2_CUDA_LAUNCH("a checkpoint", launch_checkpoint(launch, checkpoint));
  }
  pending_.clear();
  checkpoint_due_ = false;
  last_checkpoint_ = ordinal_;
}

void Stream::record(Event& event) {
  std::lock_guard<std::mutex> lock(mutex_);
  begin();
  Record::Origin origin{device_, watcher_, lane_, ordinal_, past_, error_, {}, nullptr};
  attempt([&] {
    if (delay_.enabled()) delay_.enqueue(stream_.get());
    EventPool::Lent lent = device_->events().take();
    origin.anchor = device_->clock().anchor();
    ZO2_CUDA_CHECK(cudaEventRecord(lent.get(), stream_.get()));
    origin.event = std::move(lent);
  });
  // On a stream that had failed before, that failure stays.
  if (origin.known.status == ZO2_OK) {
    origin.known = error_;
  } else {
    error_ = origin.known;
  }
  auto record = std::make_shared<Record>(std::move(origin));
  watcher_->push(record);
  event.hold(std::move(record));
}

void Stream::wait(const Event& event) {
  const std::shared_ptr<Record> record = event.latest();
  std::lock_guard<std::mutex> lock(mutex_);
  if (!begin()) return;
  if (const auto error = record->error_so_far()) {
    error_ = *error;
    return;
  }
  attempt([&] {
    if (delay_.enabled()) delay_.enqueue(stream_.get());
    if (record->event() != nullptr) ZO2_CUDA_CHECK(cudaStreamWaitEvent(stream_.get(), record->event(), 0));
  });
  if (!record->fired_well()) absorb(*record);
}

void Stream::absorb(const Record& record) {
  past_.erase(
      std::remove_if(past_.begin(), past_.end(), [](const Seen& seen) { return seen.lane->spent(seen.ordinal); }),
      past_.end());
  const auto see = [this](const std::shared_ptr<Lane>& lane, uint64_t ordinal) {
    if (lane == lane_) return;
    const auto known = std::find_if(past_.begin(), past_.end(), [&](const Seen& seen) { return seen.lane == lane; });
    if (known == past_.end()) {
      past_.push_back({lane, ordinal});
    } else if (known->ordinal < ordinal) {
      known->ordinal = ordinal;
    } else {
      return;
    }
    if (!lane->may_be_raised(ordinal)) return;
    const auto asked =
        std::find_if(pending_.begin(), pending_.end(), [&](const Seen& seen) { return seen.lane == lane; });
    if (asked == pending_.end()) {
      pending_.push_back({lane, ordinal});
    } else {
      asked->ordinal = std::max(asked->ordinal, ordinal);
    }
  };
  for (const Seen& seen : record.past()) see(seen.lane, seen.ordinal);
  see(record.lane(), record.ordinal());
}

void Stream::hold(Gate& gate) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!begin() || gate.is_open()) return;
  attempt([&] {
    gate.add(holds_, holds_->enqueue(stream_.get()));
    checkpoint_due_ = true;
  });
}

void Stream::poison(const zo2_error& cause) {
  if (cause.status == ZO2_OK) {
    contract::fail(ZO2_STATUS_INVALID_ARGUMENT,
                   "the cause of a failure has status ZO2_OK; give the status that failed");
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (begin()) error_ = cause;
}

void* Stream::scratch(uint64_t bytes) { return scratch_->at_least(bytes); }

const void* Stream::table(const Launch& launch, const void* data, uint64_t bytes) {
  if (bytes == 0) return nullptr;
  uint8_t* const place = table_.at_least(bytes);
  ZO2_CUDA_LAUNCH("a table", launch_store(launch, place, data, bytes));
  return place;
}

void Stream::cancel() {
  if (cancelled_.exchange(true)) return;
  // The host first: a record that fires from now on is cancelled, whatever the device still does.
  watcher_->cancel(*lane_);
  lane_->stop();
  delay_.cancel();
  holds_->cancel();
}

void Stream::join() {
  {
    // Not before a command that another thread is enqueueing.
    std::lock_guard<std::mutex> lock(mutex_);
    device_->enter_quietly();
    ZO2_CUDA_QUIET(cudaStreamSynchronize(stream_.get()));
  }
  files_.stop();
  watcher_->stop();
}

}  // namespace zo2::cuda
