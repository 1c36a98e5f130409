// How far failures reach: which streams and which records carry one that only shows when a command runs (zo2.h, streams
// and events).
#include <string.h>

#include <string>

#include "rig.h"

using zo2::test::Notified;
using zo2::test::Rig;

namespace {

constexpr uint64_t kBytes = 4096;

struct Scene {
  explicit Scene(const zo2_device_options& options = {}) : rig(options) {}

  // A gather whose second row number names no row: it fails when it runs.
  void fail_late(zo2_stream* stream) {
    rig.ok(rig.table->gather(stream, {gathered, 0}, {table, 0}, {rows, 0}, 2, 0, 4, &rig.error));
  }
  void fill(zo2_stream* stream, uint64_t at, uint8_t byte = 1) {
    rig.ok(rig.table->fill(stream, {marks, at}, byte, 1, &rig.error));
  }
  zo2_event* record(zo2_stream* stream) {
    zo2_event* const event = rig.event();
    rig.ok(rig.table->stream_record(stream, event, &rig.error));
    return event;
  }
  void wait(zo2_stream* stream, zo2_event* event) { rig.ok(rig.table->stream_wait(stream, event, &rig.error)); }
  uint8_t mark(uint64_t at) { return static_cast<const uint8_t*>(rig.table->buffer_host_pointer(marks))[at]; }

  bool failed(zo2_stream* stream, const char* text) {
    const zo2_error error = rig.finish(stream);
    return CHECK(error.status == ZO2_STATUS_INVALID_ARGUMENT && strstr(error.message, text) != nullptr, "status %d: %s",
                 static_cast<int>(error.status), error.message);
  }

  Rig rig;
  // Made before a stream is held: a GPU may wait for all streams when it gives memory, or another stream.
  zo2_buffer* const marks = rig.buffer(ZO2_BUFFER_HOST, kBytes);
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{0, 77});
  zo2_buffer* const table = rig.buffer(ZO2_BUFFER_HOST, 64);
  zo2_buffer* const gathered = rig.buffer(ZO2_BUFFER_DEVICE, 8);
};

void a_failure_behind_a_record_does_not_reach_who_waited_for_it() {
  Scene s;
  zo2_stream* const failing = s.rig.stream("failing");
  zo2_stream* const waiting = s.rig.stream("waiting");
  zo2_gate* const gate = s.rig.gate();
  s.fill(failing, 0);
  zo2_event* const before = s.record(failing);
  s.fail_late(failing);
  zo2_event* const behind = s.record(failing);
  // `waiting` comes to its fill when the failure is there.
  s.rig.ok(s.rig.table->stream_hold(waiting, gate, &s.rig.error));
  s.wait(waiting, before);
  s.fill(waiting, 1);
  s.failed(failing, "stream \"failing\": gather: rows[1] is 77");
  s.rig.table->gate_open(gate);
  CHECK(s.rig.finish(waiting).status == ZO2_OK);
  CHECK(s.mark(0) == 1 && s.mark(1) == 1);
  s.wait(waiting, behind);
  s.fill(waiting, 2);
  s.failed(waiting, "stream \"failing\": gather");
  CHECK(s.mark(2) == 0);
}

void a_failure_passes_through_a_stream_that_only_copies() {
  for (const bool late : {false, true}) {
    Scene s;
    zo2_stream* const failing = s.rig.stream("failing");
    zo2_stream* const copying = s.rig.stream("copying");
    zo2_stream* const last = s.rig.stream("last");
    zo2_gate* const gate = s.rig.gate();
    zo2_buffer* const other = s.rig.buffer(ZO2_BUFFER_DEVICE, 16);
    s.rig.ok(s.rig.table->stream_hold(failing, gate, &s.rig.error));
    s.fail_late(failing);
    s.wait(copying, s.record(failing));
    // Either the failure is known when the last stream is given its commands, or all three have been by then.
    if (!late) s.rig.table->gate_open(gate);
    if (!late) s.failed(failing, "gather");
    s.rig.ok(s.rig.table->copy(copying, {other, 0}, {s.marks, 64}, 16, &s.rig.error));
    s.wait(last, s.record(copying));
    s.fill(last, 0);
    if (late) s.rig.table->gate_open(gate);
    s.failed(copying, "stream \"failing\": gather: rows[1] is 77");
    s.failed(last, "stream \"failing\": gather: rows[1] is 77");
    CHECK(s.mark(0) == 0);
  }
}

void one_of_many_that_a_stream_waits_for_is_enough() {
  constexpr int kStreams = 19;
  for (const int bad : {0, 7, 8, 18}) {
    Scene s;
    zo2_gate* const gate = s.rig.gate();
    zo2_stream* const waiting = s.rig.stream("waiting");
    std::vector<zo2_stream*> streams;
    for (int i = 0; i < kStreams; ++i) streams.push_back(s.rig.stream(("stream " + std::to_string(i)).c_str()));
    for (int i = 0; i < kStreams; ++i) {
      zo2_stream* const one = streams[static_cast<size_t>(i)];
      s.rig.ok(s.rig.table->stream_hold(one, gate, &s.rig.error));
      s.fill(one, 100 + static_cast<uint64_t>(i));
      if (i == bad) s.fail_late(one);
      s.wait(waiting, s.record(one));
    }
    s.fill(waiting, 0);
    s.rig.table->gate_open(gate);
    s.failed(waiting, ("stream \"stream " + std::to_string(bad) + "\": gather").c_str());
    CHECK(s.mark(0) == 0, "stream %d", bad);
    // The first failure ends the wait; the other streams may still be at work.
    for (zo2_stream* one : streams) s.rig.finish(one);
    for (int i = 0; i < kStreams; ++i) CHECK(s.mark(100 + static_cast<uint64_t>(i)) == 1, "stream %d", i);
  }
}

void the_first_failure_of_a_stream_is_the_one_that_counts() {
  Scene s;
  zo2_stream* const other = s.rig.stream("other");
  zo2_stream* const stream = s.rig.stream("stream");
  s.fail_late(other);
  zo2_event* const of_other = s.record(other);
  s.failed(other, "stream \"other\"");
  zo2_event* const good = s.record(stream);
  s.fail_late(stream);
  s.wait(stream, of_other);
  zo2_error cause = {};
  cause.status = ZO2_STATUS_DEVICE;
  strcpy(cause.message, "given");
  s.rig.ok(s.rig.table->stream_fail(stream, &cause, &s.rig.error));
  s.failed(stream, "stream \"stream\": gather");
  Notified notified;
  s.rig.ok(s.rig.table->event_notify(good, Notified::call, &notified, &s.rig.error));
  CHECK(notified.wait() && notified.error().status == ZO2_OK, "what fired before the failure fired well");
}

void a_stream_that_outlives_those_it_waited_for_goes_on() {
  Scene s;
  zo2_stream* const survivor = s.rig.stream("survivor");
  for (int i = 0; i < 200; ++i) {
    zo2_stream* one = nullptr;
    s.rig.ok(s.rig.table->stream_create(s.rig.device, "short", &one, &s.rig.error));
    s.fill(one, static_cast<uint64_t>(i));
    zo2_event* const event = s.record(one);
    s.wait(survivor, event);
    CHECK(s.rig.finish(one).status == ZO2_OK);
    s.rig.table->stream_destroy(one);
  }
  s.fill(survivor, 200);
  CHECK(s.rig.finish(survivor).status == ZO2_OK);
  for (uint64_t i = 0; i <= 200; ++i) CHECK(s.mark(i) == 1);
}

void records_that_nobody_asks_for_have_their_time() {
  constexpr int kRecords = 1000;
  Scene s;
  zo2_stream* const stream = s.rig.stream("stream");
  std::vector<zo2_event*> events;
  for (int i = 0; i < kRecords; ++i) {
    if (i % 3 == 0) s.fill(stream, static_cast<uint64_t>(i));
    events.push_back(s.record(stream));
  }
  s.rig.finish(stream);
  double before = 0;
  for (zo2_event* event : events) {
    double seconds = 0;
    s.rig.ok(s.rig.table->event_time(event, &seconds, &s.rig.error));
    CHECK(seconds >= before);
    before = seconds;
  }
}

}  // namespace

int main() {
  a_failure_behind_a_record_does_not_reach_who_waited_for_it();
  a_failure_passes_through_a_stream_that_only_copies();
  one_of_many_that_a_stream_waits_for_is_enough();
  the_first_failure_of_a_stream_is_the_one_that_counts();
  a_stream_that_outlives_those_it_waited_for_goes_on();
  records_that_nobody_asks_for_have_their_time();
  return zo2::test::report();
}
