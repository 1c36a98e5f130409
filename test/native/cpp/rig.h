// What tests of the contract share: a device of the backend under test, opened through its table, with everything made
// on it destroyed in the right order. At its end the device must have said what it is, and have counted launches where
// the test made some.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "backend.h"
#include "check.h"
#include "contract/zo2.h"

namespace zo2::test {

// Receives the calls of event_notify.
class Notified {
 public:
  static void call(void* user, const zo2_error* error) {
    auto* const self = static_cast<Notified*>(user);
    std::lock_guard<std::mutex> lock(self->mutex_);
    ++self->calls_;
    self->error_ = *error;
    self->changed_.notify_all();
  }

  // Blocks until `calls` calls came. False after a minute: what should have fired hangs.
  bool wait(int calls = 1) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return calls_ >= calls; });
  }

  int calls() {
    std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }

  zo2_error error() {
    std::lock_guard<std::mutex> lock(mutex_);
    return error_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int calls_ = 0;
  zo2_error error_{};
};

class Rig {
 public:
  explicit Rig(const zo2_device_options& options = {}, const zo2_backend* of = backend()) : table(of) {
    ok(table->device_open(&options, &device, &error));
  }

  ~Rig() { close(); }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  void close() {
    if (device != nullptr) check_device();
    destroy();
  }

  // Without a look at the device, which may be lost.
  void destroy() {
    for (zo2_gate* one : gates_) table->gate_destroy(one);
    for (zo2_stream* one : streams_) table->stream_destroy(one);
    for (zo2_event* one : events_) table->event_destroy(one);
    for (zo2_buffer* one : buffers_) table->buffer_destroy(one);
    for (zo2_layout* one : layouts_) table->layout_destroy(one);
    for (zo2_program* one : programs_) table->program_destroy(one);
    gates_.clear();
    streams_.clear();
    events_.clear();
    buffers_.clear();
    layouts_.clear();
    programs_.clear();
    if (device != nullptr) table->device_close(device);
    device = nullptr;
  }

  bool ok(zo2_status status) {
    return CHECK(status == ZO2_OK, "status %d: %s", static_cast<int>(status), error.message);
  }

  // For the status of prepare, run, loss or gradient: `stream` was given work that must count as a launch once it has
  // ended well.
  bool launched(zo2_status status) {
    awaited_launches_ = ok(status) || awaited_launches_;
    return status == ZO2_OK;
  }

  zo2_stream* stream(const char* name) {
    zo2_stream* one = nullptr;
    ok(table->stream_create(device, name, &one, &error));
    streams_.push_back(one);
    return one;
  }

  // Ends the care for a stream that the test destroys itself.
  void forget(zo2_stream* stream) {
    for (size_t i = 0; i < streams_.size(); ++i) {
      if (streams_[i] == stream) streams_.erase(streams_.begin() + static_cast<long>(i--));
    }
  }

  zo2_event* event() {
    zo2_event* one = nullptr;
    ok(table->event_create(device, &one, &error));
    events_.push_back(one);
    return one;
  }

  zo2_gate* gate() {
    zo2_gate* one = nullptr;
    ok(table->gate_create(device, &one, &error));
    gates_.push_back(one);
    return one;
  }

  zo2_buffer* buffer(zo2_buffer_kind kind, uint64_t bytes) {
    zo2_buffer* one = nullptr;
    ok(table->buffer_create(device, kind, bytes, &one, &error));
    buffers_.push_back(one);
    return one;
  }

  // Takes care of a buffer that the test made itself.
  void keep(zo2_buffer* buffer) { buffers_.push_back(buffer); }

  zo2_layout* layout(const std::vector<zo2_segment>& segments) {
    zo2_layout* one = nullptr;
    ok(table->layout_create(device, segments.data(), segments.size(), &one, &error));
    layouts_.push_back(one);
    return one;
  }

  zo2_program* program(const std::vector<double>& words, const uint64_t space_bytes[ZO2_SPACES]) {
    zo2_program* one = nullptr;
    ok(table->program_create(device, words.data(), words.size(), space_bytes, &one, &error));
    programs_.push_back(one);
    return one;
  }

  // A host buffer with a copy of `values`.
  template <typename T>
  zo2_buffer* host(const std::vector<T>& values) {
    zo2_buffer* const one = buffer(ZO2_BUFFER_HOST, values.size() * sizeof(T));
    T* const to = static_cast<T*>(table->buffer_host_pointer(one));
    for (size_t i = 0; i < values.size(); ++i) to[i] = values[i];
    return one;
  }

  // A device buffer with a copy of `values`, which is there when this returns.
  template <typename T>
  zo2_buffer* on_device(zo2_stream* stream, const std::vector<T>& values) {
    const uint64_t bytes = values.size() * sizeof(T);
    zo2_buffer* const one = buffer(ZO2_BUFFER_DEVICE, bytes);
    ok(table->copy(stream, {one, 0}, {host(values), 0}, bytes, &error));
    ok(finish(stream).status);
    return one;
  }

  // The bytes of any buffer once `stream` has come to this point.
  template <typename T>
  std::vector<T> read(zo2_stream* stream, zo2_buffer* from, size_t count) {
    zo2_buffer* const staging = buffer(ZO2_BUFFER_HOST, count * sizeof(T));
    ok(table->copy(stream, {staging, 0}, {from, 0}, count * sizeof(T), &error));
    const zo2_error finished = finish(stream);
    CHECK(finished.status == ZO2_OK, "%s", finished.message);
    const T* const values = static_cast<const T*>(table->buffer_host_pointer(staging));
    return std::vector<T>(values, values + count);
  }

  // Blocks until the stream has run what was enqueued on it; what poisoned it, if anything did.
  zo2_error finish(zo2_stream* stream) {
    Notified notified;
    zo2_event* const end = event();
    ok(table->stream_record(stream, end, &error));
    ok(table->event_notify(end, Notified::call, &notified, &error));
    if (!CHECK(notified.wait(), "a stream hangs")) abort_hung();
    const zo2_error ended = notified.error();
    if (ended.status == ZO2_OK && awaited_launches_) must_have_launched_ = true;
    return ended;
  }

  zo2_device_info info() {
    zo2_device_info info{};
    ok(table->device_info(device, &info, &error));
    return info;
  }

  const zo2_backend* const table;
  zo2_device* device = nullptr;
  zo2_error error{};

 private:
  // Leaving would destroy what the hung command still uses.
  [[noreturn]] static void abort_hung() {
    report();
    fflush(nullptr);
    _Exit(1);
  }

  void check_device() {
    const zo2_device_info known = info();
    CHECK(table != backend() || is_tested_kind(known.kind),
          "the device is a \"%s\", which is not the backend under test", known.kind);
    CHECK(!must_have_launched_ || known.launches > 0, "the test launched work, the device counted none");
  }

  bool awaited_launches_ = false;
  bool must_have_launched_ = false;
  std::vector<zo2_stream*> streams_;
  std::vector<zo2_event*> events_;
  std::vector<zo2_gate*> gates_;
  std::vector<zo2_buffer*> buffers_;
  std::vector<zo2_layout*> layouts_;
  std::vector<zo2_program*> programs_;
};

}  // namespace zo2::test
