#include "emulator/streams.h"

#include <algorithm>

#include "emulator/arena.h"
#include "emulator/config.h"
#include "emulator/hooks.h"
#include "emulator/scheduler.h"
#include "emulator/streams_internal.h"

namespace zo2::emu {
namespace {

std::shared_ptr<Stream> make_stream(int number, bool blocking) {
  auto stream = std::make_shared<Stream>();
  stream->number = number;
  stream->blocking = blocking;
  if constexpr (kRace) hooks::stream_created(number);
  return stream;
}

std::vector<std::shared_ptr<Stream>> existing() {
  std::vector<std::shared_ptr<Stream>> found;
  for (const auto& stream : streams().all) {
    if (stream != nullptr) found.push_back(stream);
  }
  return found;
}

void follow(Stream& stream, Stream& other) {
  if (other.enqueued == 0) return;
  if (other.done < other.enqueued) stream.needs.push_back(other.all());
  if constexpr (kRace) hooks::stream_follows(stream.number, other.number);
}

// The default stream comes after all blocking streams, and these after it.
void follow_default_rule(Stream& stream) {
  Streams& s = streams();
  if (!stream.blocking) return;
  if (stream.number != 0) {
    follow(stream, *s.all[0]);
    return;
  }
  for (const auto& other : s.all) {
    if (other != nullptr && other->number != 0 && other->blocking) follow(stream, *other);
  }
}

void forget_when_drained(const std::shared_ptr<Stream>& stream) {
  if (!stream->destroyed || stream->busy || !stream->queue.empty()) return;
  Streams& s = streams();
  if (s.all[stream->number] != stream) return;
  s.all[stream->number] = nullptr;
  if constexpr (kRace) hooks::stream_destroyed(stream->number);
}

// The stream whose head must run next so that `stream` gets on; null while that is some other thread's business.
std::shared_ptr<Stream> next_needed(const std::shared_ptr<Stream>& stream) {
  if (stream->busy || stream->queue.empty()) return nullptr;
  for (const Prefix& need : stream->queue.front().needs) {
    if (!need.done()) return next_needed(need.stream);
  }
  return stream;
}

std::vector<std::shared_ptr<Stream>> all_runnable() {
  std::vector<std::shared_ptr<Stream>> found = existing();
  found.erase(std::remove_if(found.begin(), found.end(), [](const auto& stream) { return !runnable(*stream); }),
              found.end());
  return found;
}

void run_everything() {
  for (;;) {
    const auto ready = all_runnable();
    if (ready.empty()) return;
    for (const auto& stream : ready) {
      while (runnable(*stream)) run_head(stream);
    }
  }
}

void run_at_random() {
  for (;;) {
    const auto ready = all_runnable();
    if (ready.empty() || random_bits() % 3 == 0) return;
    run_head(ready[random_bits() % ready.size()]);
  }
}

}  // namespace

void RuntimeLock::let_others_in() {
  if (wanted_.load() == 0) return;
  unlock();
  constexpr int kLooks = 100;
  for (int look = 0; look < kLooks && wanted_.load() > 0; ++look) std::this_thread::yield();
  lock();
}

RuntimeLock& runtime_lock() { return streams().lock; }

Streams& streams() {
  static Streams* instance = [] {
    auto* made = new Streams;
    made->all.push_back(make_stream(0, true));
    return made;
  }();
  return *instance;
}

bool Prefix::done() const { return stream == nullptr || stream->done >= number; }

std::shared_ptr<Stream> create_stream(bool blocking) {
  Streams& s = streams();
  size_t number = 1;
  while (number < s.all.size() && s.all[number] != nullptr) ++number;
  if (number == s.all.size()) s.all.emplace_back();
  s.all[number] = make_stream(static_cast<int>(number), blocking);
  start_progress();
  return s.all[number];
}

std::shared_ptr<Stream> find_stream(cudaStream_t handle) {
  Streams& s = streams();
  if (handle == nullptr || handle == cudaStreamLegacy) return s.all[0];
  for (const auto& stream : s.all) {
    if (reinterpret_cast<cudaStream_t>(stream.get()) == handle && !stream->destroyed) return stream;
  }
  return nullptr;
}

void destroy_stream(const std::shared_ptr<Stream>& stream) {
  stream->destroyed = true;
  forget_when_drained(stream);
  forget_failure_when_unused();
}

bool runnable(const Stream& stream) {
  if (stream.busy || stream.queue.empty()) return false;
  const auto& needs = stream.queue.front().needs;
  return std::all_of(needs.begin(), needs.end(), [](const Prefix& need) { return need.done(); });
}

void finish_operation(const std::shared_ptr<Stream>& stream, uint64_t number) {
  Streams& s = streams();
  stream->done = stream->queue.empty() ? stream->enqueued : number;  // a reset may have discarded the rest
  if (take_failure() && s.failure == cudaSuccess) s.failure = cudaErrorLaunchFailure;
  forget_when_drained(stream);
  s.changed.notify_all();
  if (!all_runnable().empty()) s.work_waits.notify_one();
}

void run_head(const std::shared_ptr<Stream>& stream) {
  Operation operation = std::move(stream->queue.front());
  stream->queue.pop_front();
  const bool failed = device_status() != cudaSuccess;
  if (operation.host_function && !failed) {
    run_host_function(stream, std::move(operation));
    return;
  }
  if (!failed) operation.body(operation.id);
  operation.body = nullptr;
  finish_operation(stream, operation.number);
}

void enqueue(const std::shared_ptr<Stream>& stream, const char* name, std::function<void(uint64_t id)> body,
             bool host_function) {
  Streams& s = streams();
  follow_default_rule(*stream);
  Operation operation;
  operation.id = ++s.operations;
  operation.number = ++stream->enqueued;
  operation.body = std::move(body);
  operation.host_function = host_function;
  operation.needs = std::move(stream->needs);
  operation.since = std::chrono::steady_clock::now();
  stream->needs.clear();
  stream->queue.push_back(std::move(operation));
  if constexpr (kRace) {
    hooks::enqueued(s.operations, stream->number, name);
  } else {
    static_cast<void>(name);
  }
  switch (config().progress) {
    case Progress::kEager:
      run_everything();
      break;
    case Progress::kLazy:
      break;
    case Progress::kRandom:
      run_at_random();
      break;
  }
  if (runnable(*stream)) s.work_waits.notify_one();
}

void wait_for(const Prefix& prefix) {
  Streams& s = streams();
  poll_progress();
  while (!prefix.done() && device_status() == cudaSuccess) {
    if (const auto stream = next_needed(prefix.stream)) {
      run_head(stream);
      s.lock.let_others_in();
    } else {
      s.changed.wait(s.lock);
    }
  }
}

void wait_for_all() {
  for (const auto& stream : existing()) {
    wait_for(stream->all());
    if constexpr (kRace) hooks::host_saw_stream(stream->number);
  }
}

void poll_progress() {
  if (config().progress == Progress::kRandom) run_at_random();
}

cudaError_t device_status() {
  Streams& s = streams();
  if (take_failure() && s.failure == cudaSuccess) s.failure = cudaErrorLaunchFailure;
  return s.failure;
}

void reset_streams() {
  Streams& s = streams();
  for (const auto& stream : existing()) {
    if (!stream->queue.empty()) {
      const uint64_t last = stream->queue.back().number;
      stream->queue.clear();
      if (!stream->busy) stream->done = last;
    }
    stream->needs.clear();
  }
  static_cast<void>(take_failure());
  s.failure = cudaSuccess;
  s.changed.notify_all();
}

void forget_failure_when_unused() {
  Streams& s = streams();
  if (s.failure == cudaSuccess || live_allocations() > 0 || existing().size() > 1) return;
  reset_streams();
  if constexpr (kRace) hooks::device_reset();
}

}  // namespace zo2::emu
