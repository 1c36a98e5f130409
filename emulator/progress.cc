// Threads of the emulated runtime: one that keeps streams going when nobody waits for them, and one for each host
// function that runs.
#include <algorithm>
#include <utility>

#include "emulator/config.h"
#include "emulator/hooks.h"
#include "emulator/streams_internal.h"

namespace zo2::emu {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long an operation may stay in its queue although it could run.
milliseconds patience() {
  switch (config().progress) {
    case Progress::kEager:
      return milliseconds(0);
    case Progress::kLazy:
      return milliseconds(20);
    case Progress::kRandom:
      return milliseconds(2);
  }
  return milliseconds(0);
}

// A stream whose head has waited long enough. Otherwise null, with `wake` set to when the next one will have, or left
// alone.
std::shared_ptr<Stream> overdue(steady_clock::time_point now, steady_clock::time_point* wake) {
  for (const auto& stream : streams().all) {
    if (stream == nullptr || !runnable(*stream)) continue;
    const auto due = stream->queue.front().since + patience();
    if (due <= now) return stream;
    *wake = std::min(*wake, due);
  }
  return nullptr;
}

void serve(uint64_t number) {
  Streams& s = streams();
  std::unique_lock lock(s.lock);
  while (s.served == number) {
    const auto now = steady_clock::now();
    const auto never = now + std::chrono::hours(1);
    auto wake = never;
    if (const auto stream = overdue(now, &wake)) {
      run_head(stream);
      s.lock.let_others_in();
    } else if (wake == never) {
      s.work_waits.wait(lock);
    } else {
      s.work_waits.wait_until(lock, wake);
    }
  }
}

// Takes out the workers that have ended, or all of them.
std::vector<std::thread> take_workers(bool all) {
  std::vector<std::thread> taken;
  auto& workers = streams().workers;
  for (auto worker = workers.begin(); worker != workers.end();) {
    if (all || (*worker)->done) {
      taken.push_back(std::move((*worker)->thread));
      worker = workers.erase(worker);
    } else {
      ++worker;
    }
  }
  return taken;
}

}  // namespace

void start_progress() {
  Streams& s = streams();
  if (s.progress.joinable()) return;
  s.progress = std::thread(&serve, s.served);
}

void stop_when_unused() {
  Streams& s = streams();
  std::thread progress;
  std::vector<std::thread> workers;
  {
    std::lock_guard lock(s.lock);
    const auto used = [](const auto& stream) { return stream != nullptr && stream->number != 0; };
    if (!s.progress.joinable() || std::any_of(s.all.begin(), s.all.end(), used)) return;
    ++s.served;
    s.work_waits.notify_all();
    progress = std::move(s.progress);
    workers = take_workers(true);
  }
  progress.join();
  for (std::thread& worker : workers) worker.join();
}

void run_host_function(const std::shared_ptr<Stream>& stream, Operation operation) {
  Streams& s = streams();
  for (std::thread& ended : take_workers(false)) ended.join();
  stream->busy = true;
  auto worker = std::make_shared<Worker>();
  s.workers.push_back(worker);
  worker->thread = std::thread(
      [&s, stream, worker, body = std::move(operation.body), id = operation.id, number = operation.number]() mutable {
        if constexpr (kRace) {
          std::lock_guard lock(s.lock);
          hooks::host_function_begins(id);
        }
        body(id);
        std::lock_guard lock(s.lock);
        if constexpr (kRace) hooks::host_function_ends(id);
        body = nullptr;
        stream->busy = false;
        finish_operation(stream, number);
        worker->done = true;
      });
}

}  // namespace zo2::emu
