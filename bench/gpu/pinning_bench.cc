// How long host memory takes until copies reach it without staging, and what they reach then. Beside it the same pages
// touched by as many threads and not locked, which the kernel has to do in any case.
#include <sys/mman.h>

#include <chrono>
#include <thread>

#include "bench/gpu/bench.h"
#include "bench/gpu/table.h"
#include "contract/host.h"

namespace {

using zo2::bench::Fired;
using zo2::bench::Line;
using zo2::bench::must;

constexpr uint64_t kPage = 4096;
constexpr int kRepeats = 5;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double touch(uint64_t bytes) {
  const auto begin = std::chrono::steady_clock::now();
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return NAN;
  madvise(pages, bytes, MADV_HUGEPAGE);
  const unsigned count = std::max(1u, zo2::contract::host().cores);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([=] {
      volatile uint8_t* const at = static_cast<uint8_t*>(pages);
      for (uint64_t offset = bytes / count * i; offset < (i + 1 == count ? bytes : bytes / count * (i + 1));
           offset += kPage)
        at[offset] = 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double taken = seconds_since(begin);
  munmap(pages, bytes);
  return taken;
}

// A pinned buffer as the backend makes it: `locked`, seconds; `upload`, bytes/s from its end.
struct Pinned {
  double locked, upload;
};

Pinned through_backend(uint64_t bytes) {
  const zo2_backend* const table = zo2_cuda_backend();
  const zo2_device_options options{};
  zo2_error error{};
  zo2_device* device = nullptr;
  must(table->device_open(&options, &device, &error), error);
  const uint64_t piece = std::min<uint64_t>(bytes, zo2::bench::tiny() ? 4096 : 1 << 30);
  zo2_stream* stream = nullptr;
  zo2_event* events[2] = {};
  zo2_buffer *host = nullptr, *to = nullptr;
  must(table->stream_create(device, "upload", &stream, &error), error);
  for (zo2_event*& event : events) must(table->event_create(device, &event, &error), error);
  must(table->buffer_create(device, ZO2_BUFFER_DEVICE, piece, &to, &error), error);
  const auto begin = std::chrono::steady_clock::now();
  must(table->buffer_create(device, ZO2_BUFFER_HOST, bytes, &host, &error), error);
  Pinned result{seconds_since(begin), 0};
  for (int round = 0; round <= kRepeats; ++round) {
    // The first round does not count.
    if (round == 1) must(table->stream_record(stream, events[0], &error), error);
    must(table->copy(stream, {to, 0}, {host, bytes - piece}, piece, &error), error);
  }
  must(table->stream_record(stream, events[1], &error), error);
  Fired(table, events[1]);
  double times[2] = {};
  for (int i = 0; i < 2; ++i) must(table->event_time(events[i], &times[i], &error), error);
  result.upload = kRepeats * static_cast<double>(piece) / (times[1] - times[0]);
  table->stream_destroy(stream);
  for (zo2_event* const event : events) table->event_destroy(event);
  table->buffer_destroy(host);
  table->buffer_destroy(to);
  table->device_close(device);
  return result;
}

void measure(uint64_t bytes) {
  Line line;
  line.text("bench", "pinning").number("bytes", static_cast<double>(bytes));
  // What else runs on the host needs memory too.
  if (bytes > zo2::contract::host().memory_free / 2) {
    line.text("skipped", "less than twice as much host memory is free").print();
    return;
  }
  const double touched = touch(bytes);
  const Pinned pinned = through_backend(bytes);
  line.number("seconds", pinned.locked).number("bytesPerSecond", static_cast<double>(bytes) / pinned.locked);
  line.number("touchedBytesPerSecond", static_cast<double>(bytes) / touched);
  line.number("uploadBytesPerSecond", pinned.upload).print();
}

}  // namespace

int main() {
  if (zo2::bench::tiny()) {
    measure(uint64_t{16} << 20);
    return 0;
  }
  measure(uint64_t{8} << 30);
  measure(uint64_t{32} << 30);
}
