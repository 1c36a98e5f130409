// Streams, events, gates, notifications, closing: the rules at the head of zo2.h.
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "rig.h"

using zo2::test::Notified;
using zo2::test::on_cuda;
using zo2::test::Rig;

namespace {

zo2_device_options delayed(uint32_t microseconds, uint64_t seed) {
  zo2_device_options options = {};
  options.threads = 2;
  options.delay_microseconds = microseconds;
  options.delay_seed = seed;
  return options;
}

bool contains(const zo2_error& error, const char* text) { return strstr(error.message, text) != nullptr; }

uint8_t* bytes_of(Rig& rig, zo2_buffer* buffer) {
  return static_cast<uint8_t*>(rig.table->buffer_host_pointer(buffer));
}

// Gives threads of streams the time to reach the command they block on. A test that has this in it holds without it,
// but covers less.
void let_streams_block() { usleep(20000); }

// A producer and a consumer that share one cell hand over every value, whatever the delays: each waits for the other's
// latest record.
void events_order_streams_under_random_delays(uint64_t seed) {
  constexpr int kRounds = 200;
  Rig rig(delayed(seed == 0 ? 0 : 50, seed));
  zo2_stream* const producer = rig.stream("producer");
  zo2_stream* const consumer = rig.stream("consumer");
  zo2_event* const produced = rig.event();
  zo2_event* const consumed = rig.event();
  zo2_buffer* const cell = rig.buffer(ZO2_BUFFER_DEVICE, 1);
  zo2_buffer* const log = rig.buffer(ZO2_BUFFER_HOST, kRounds);
  for (int k = 0; k < kRounds; ++k) {
    if (k > 0) rig.ok(rig.table->stream_wait(producer, consumed, &rig.error));
    rig.ok(rig.table->fill(producer, {cell, 0}, static_cast<uint8_t>(k), 1, &rig.error));
    rig.ok(rig.table->stream_record(producer, produced, &rig.error));
    rig.ok(rig.table->stream_wait(consumer, produced, &rig.error));
    rig.ok(rig.table->copy(consumer, {log, static_cast<uint64_t>(k)}, {cell, 0}, 1, &rig.error));
    rig.ok(rig.table->stream_record(consumer, consumed, &rig.error));
  }
  rig.finish(consumer);
  for (int k = 0; k < kRounds; ++k) CHECK(bytes_of(rig, log)[k] == k, "round %d, seed %d", k, static_cast<int>(seed));
  const zo2_device_info info = rig.info();
  CHECK(info.commands == 2 * kRounds, "%d", static_cast<int>(info.commands));
  CHECK(info.launches == 0);
}

void an_event_never_recorded_is_an_error() {
  Rig rig;
  zo2_stream* const stream = rig.stream("s");
  zo2_event* const event = rig.event();
  double seconds = 0;
  Notified notified;
  CHECK(rig.table->stream_wait(stream, event, &rig.error) == ZO2_STATUS_NOT_RECORDED);
  CHECK(rig.error.status == ZO2_STATUS_NOT_RECORDED && contains(rig.error, "never recorded"));
  CHECK(rig.table->event_notify(event, Notified::call, &notified, &rig.error) == ZO2_STATUS_NOT_RECORDED);
  CHECK(rig.table->event_time(event, &seconds, &rig.error) == ZO2_STATUS_NOT_RECORDED);
  CHECK(rig.finish(stream).status == ZO2_OK, "an error at enqueue must not poison");
  CHECK(notified.calls() == 0);
}

void a_wait_binds_to_the_latest_record_when_it_is_enqueued() {
  Rig rig;
  zo2_stream* const first = rig.stream("first");
  zo2_stream* const second = rig.stream("second");
  zo2_stream* const waiter = rig.stream("waiter");
  zo2_stream* const late = rig.stream("late");
  zo2_event* const event = rig.event();
  zo2_gate* const gate = rig.gate();
  zo2_gate* const never = rig.gate();
  rig.ok(rig.table->stream_hold(first, gate, &rig.error));
  rig.ok(rig.table->stream_record(first, event, &rig.error));
  rig.ok(rig.table->stream_wait(waiter, event, &rig.error));
  // The second record never fires: `waiter` does not care, `late` does.
  rig.ok(rig.table->stream_hold(second, never, &rig.error));
  rig.ok(rig.table->stream_record(second, event, &rig.error));
  rig.ok(rig.table->stream_wait(late, event, &rig.error));
  zo2_event* const passed = rig.event();
  Notified late_passed;
  rig.ok(rig.table->stream_record(late, passed, &rig.error));
  rig.ok(rig.table->event_notify(passed, Notified::call, &late_passed, &rig.error));
  double seconds = 0;
  CHECK(rig.table->event_time(event, &seconds, &rig.error) == ZO2_STATUS_NOT_RECORDED,
        "the latest record has not fired");
  rig.table->gate_open(gate);
  CHECK(rig.finish(waiter).status == ZO2_OK);
  CHECK(rig.finish(first).status == ZO2_OK);
  CHECK(late_passed.calls() == 0);
  rig.table->gate_open(never);
  CHECK(late_passed.wait());
  CHECK(rig.table->event_time(event, &seconds, &rig.error) == ZO2_OK && seconds > 0);
}

void times_follow_the_order_of_a_stream() {
  Rig rig(delayed(100, 5));
  zo2_stream* const stream = rig.stream("s");
  double before = 0;
  for (int i = 0; i < 5; ++i) {
    zo2_event* const event = rig.event();
    rig.ok(rig.table->stream_record(stream, event, &rig.error));
    rig.finish(stream);
    double seconds = 0;
    rig.ok(rig.table->event_time(event, &seconds, &rig.error));
    CHECK(seconds > before);
    before = seconds;
  }
}

void a_failure_poisons_its_stream_and_those_that_wait_for_it() {
  Rig rig;
  zo2_stream* const bad = rig.stream("bad");
  zo2_stream* const infected = rig.stream("infected");
  zo2_stream* const healthy = rig.stream("healthy");
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{1, 70, 2});
  zo2_buffer* const table = rig.buffer(ZO2_BUFFER_HOST, 64 * 4);
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 16);
  zo2_event* const event = rig.event();
  rig.ok(rig.table->gather(bad, {out, 0}, {table, 0}, {rows, 0}, 3, 10, 4, &rig.error));
  rig.ok(rig.table->fill(bad, {out, 12}, 7, 1, &rig.error));
  rig.ok(rig.table->stream_record(bad, event, &rig.error));
  rig.ok(rig.table->stream_wait(infected, event, &rig.error));
  rig.ok(rig.table->fill(infected, {out, 13}, 7, 1, &rig.error));
  rig.ok(rig.table->fill(healthy, {out, 14}, 7, 1, &rig.error));
  const zo2_error of_bad = rig.finish(bad);
  const zo2_error of_infected = rig.finish(infected);
  CHECK(rig.finish(healthy).status == ZO2_OK);
  CHECK(of_bad.status == ZO2_STATUS_INVALID_ARGUMENT);
  CHECK(contains(of_bad, "rows[0] is 1,") && contains(of_bad, "\"bad\""), "%s", of_bad.message);
  CHECK(of_infected.status == of_bad.status && strcmp(of_infected.message, of_bad.message) == 0, "%s",
        of_infected.message);
  // A GPU may have begun on fills and copies before the host learned of the failure: they are skipped only from then
  // on.
  if (!on_cuda())
    CHECK(bytes_of(rig, out)[12] == 0 && bytes_of(rig, out)[13] == 0, "commands behind the failure are skipped");
  CHECK(bytes_of(rig, out)[14] == 7);
  rig.ok(rig.table->fill(bad, {out, 15}, 7, 1, &rig.error));
  rig.ok(rig.table->fill(infected, {out, 15}, 7, 1, &rig.error));
  CHECK(rig.finish(bad).status == ZO2_STATUS_INVALID_ARGUMENT, "it stays poisoned");
  CHECK(rig.finish(infected).status == ZO2_STATUS_INVALID_ARGUMENT, "it stays poisoned");
  CHECK(bytes_of(rig, out)[15] == 0, "commands behind a failure that is known are skipped");
}

void stream_fail_is_a_failure_and_the_first_one_counts() {
  Rig rig;
  zo2_stream* const stream = rig.stream("s");
  zo2_error cause = {};
  CHECK(rig.table->stream_fail(stream, &cause, &rig.error) == ZO2_STATUS_INVALID_ARGUMENT,
        "status ZO2_OK is no failure");
  cause.status = ZO2_STATUS_DEVICE;
  strcpy(cause.message, "the first");
  rig.ok(rig.table->stream_fail(stream, &cause, &rig.error));
  strcpy(cause.message, "the second");
  rig.ok(rig.table->stream_fail(stream, &cause, &rig.error));
  const zo2_error error = rig.finish(stream);
  CHECK(error.status == ZO2_STATUS_DEVICE && strcmp(error.message, "the first") == 0, "%s", error.message);
}

void destroying_a_stream_cancels_what_has_not_started() {
  Rig rig;
  zo2_stream* const held = rig.stream("held");
  zo2_stream* const waiting = rig.stream("waiting");
  zo2_gate* const gate = rig.gate();
  zo2_event* const of_held = rig.event();
  zo2_event* const of_waiting = rig.event();
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 2);
  Notified held_notified;
  Notified waiting_notified;
  rig.ok(rig.table->stream_hold(held, gate, &rig.error));
  rig.ok(rig.table->fill(held, {out, 0}, 1, 1, &rig.error));
  rig.ok(rig.table->stream_record(held, of_held, &rig.error));
  rig.ok(rig.table->stream_wait(waiting, of_held, &rig.error));
  rig.ok(rig.table->fill(waiting, {out, 1}, 1, 1, &rig.error));
  rig.ok(rig.table->stream_record(waiting, of_waiting, &rig.error));
  rig.ok(rig.table->event_notify(of_held, Notified::call, &held_notified, &rig.error));
  rig.ok(rig.table->event_notify(of_waiting, Notified::call, &waiting_notified, &rig.error));
  let_streams_block();
  rig.table->stream_destroy(held);
  rig.forget(held);
  CHECK(held_notified.wait() && held_notified.error().status == ZO2_STATUS_CANCELLED);
  CHECK(waiting_notified.wait() && waiting_notified.error().status == ZO2_STATUS_CANCELLED,
        "the cancellation reaches who waits");
  CHECK(bytes_of(rig, out)[0] == 0 && bytes_of(rig, out)[1] == 0);
}

void closing_a_device_cancels_its_streams_and_calls_every_notification() {
  Notified held_notified;
  Notified waiting_notified;
  const zo2_backend* const table = zo2::test::backend();
  zo2_error error;
  zo2_device_options options = {};
  zo2_device* device = nullptr;
  zo2_stream* held = nullptr;
  zo2_stream* waiting = nullptr;
  zo2_event* event = nullptr;
  zo2_event* other = nullptr;
  zo2_gate* gate = nullptr;
  CHECK(table->device_open(&options, &device, &error) == ZO2_OK);
  CHECK(table->stream_create(device, "held", &held, &error) == ZO2_OK);
  CHECK(table->stream_create(device, "waiting", &waiting, &error) == ZO2_OK);
  CHECK(table->event_create(device, &event, &error) == ZO2_OK);
  CHECK(table->event_create(device, &other, &error) == ZO2_OK);
  CHECK(table->gate_create(device, &gate, &error) == ZO2_OK);
  CHECK(table->stream_hold(held, gate, &error) == ZO2_OK);
  CHECK(table->stream_record(held, event, &error) == ZO2_OK);
  CHECK(table->stream_wait(waiting, event, &error) == ZO2_OK);
  CHECK(table->stream_record(waiting, other, &error) == ZO2_OK);
  CHECK(table->event_notify(event, Notified::call, &held_notified, &error) == ZO2_OK);
  CHECK(table->event_notify(other, Notified::call, &waiting_notified, &error) == ZO2_OK);
  let_streams_block();
  table->device_close(device);
  // All have been called when device_close returns: nothing is waited for here.
  CHECK(held_notified.calls() == 1 && held_notified.error().status == ZO2_STATUS_CANCELLED);
  CHECK(waiting_notified.calls() == 1 && waiting_notified.error().status == ZO2_STATUS_CANCELLED);
  // Late callers get an error, late destroys are harmless.
  CHECK(table->stream_record(held, event, &error) == ZO2_STATUS_CANCELLED);
  Notified late;
  CHECK(table->event_notify(event, Notified::call, &late, &error) == ZO2_OK && late.calls() == 1);
  table->stream_destroy(held);
  table->stream_destroy(waiting);
  table->event_destroy(event);
  table->event_destroy(other);
  table->gate_destroy(gate);
}

void a_long_delay_is_cut_short_by_destroying() {
  Rig rig(delayed(UINT32_MAX, 3));
  zo2_stream* const stream = rig.stream("slow");
  zo2_event* const event = rig.event();
  Notified notified;
  rig.ok(rig.table->stream_record(stream, event, &rig.error));
  rig.ok(rig.table->event_notify(event, Notified::call, &notified, &rig.error));
  let_streams_block();
  rig.table->stream_destroy(stream);
  rig.forget(stream);
  CHECK(notified.wait() && notified.error().status == ZO2_STATUS_CANCELLED);
}

struct Counter {
  std::atomic<int> calls{0};
  static void call(void* user, const zo2_error*) { static_cast<Counter*>(user)->calls.fetch_add(1); }
};

void every_notification_is_called_exactly_once() {
  constexpr int kEvents = 300;
  std::vector<Counter> counters(kEvents * 2);
  {
    Rig rig(delayed(20, 11));
    zo2_stream* const streams[2] = {rig.stream("a"), rig.stream("b")};
    zo2_event* const event = rig.event();
    for (int i = 0; i < kEvents; ++i) {
      // The event is recorded again while earlier notifications are pending.
      rig.ok(rig.table->stream_record(streams[i % 2], event, &rig.error));
      rig.ok(rig.table->event_notify(event, Counter::call, &counters[static_cast<size_t>(i)], &rig.error));
    }
    rig.finish(streams[0]);
    rig.finish(streams[1]);
    for (int i = 0; i < kEvents; ++i) {
      rig.ok(rig.table->event_notify(event, Counter::call, &counters[static_cast<size_t>(kEvents + i)], &rig.error));
    }
  }
  for (size_t i = 0; i < counters.size(); ++i)
    CHECK(counters[i].calls == 1, "notification %d: %d calls", static_cast<int>(i), counters[i].calls.load());
}

struct Reenter {
  Rig* rig;
  zo2_stream* stream;
  Notified done;
  static void call(void* user, const zo2_error*) {
    auto* const self = static_cast<Reenter*>(user);
    zo2_error error;
    zo2_event* event = nullptr;
    self->rig->table->event_create(self->rig->device, &event, &error);
    self->rig->table->stream_record(self->stream, event, &error);
    self->rig->table->event_notify(event, Notified::call, &self->done, &error);
    self->rig->table->event_destroy(event);
  }
};

void a_notification_may_call_the_table() {
  Rig rig;
  Reenter reenter{&rig, rig.stream("s"), {}};
  zo2_event* const event = rig.event();
  rig.ok(rig.table->stream_record(reenter.stream, event, &rig.error));
  rig.ok(rig.table->event_notify(event, Reenter::call, &reenter, &rig.error));
  CHECK(reenter.done.wait(), "the event was destroyed, its record still fires");
}

void streams_may_be_fed_from_two_threads() {
  constexpr int kCommands = 2000;
  Rig rig;
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 2);
  zo2_stream* const streams[2] = {rig.stream("a"), rig.stream("b")};
  zo2_event* const events[2] = {rig.event(), rig.event()};
  std::atomic<int> failures{0};
  const auto feed = [&](int self) {
    zo2_error error;
    for (int i = 0; i < kCommands; ++i) {
      if (rig.table->fill(streams[self], {out, static_cast<uint64_t>(self)}, static_cast<uint8_t>(i), 1, &error) !=
          ZO2_OK)
        ++failures;
      if (rig.table->stream_record(streams[self], events[self], &error) != ZO2_OK) ++failures;
      // The other's event may not have been recorded yet; a wait for one that was must not deadlock: it was enqueued
      // before.
      const zo2_status status = rig.table->stream_wait(streams[self], events[1 - self], &error);
      if (status != ZO2_OK && status != ZO2_STATUS_NOT_RECORDED) ++failures;
    }
  };
  std::thread other(feed, 1);
  feed(0);
  other.join();
  CHECK(failures == 0);
  CHECK(rig.finish(streams[0]).status == ZO2_OK && rig.finish(streams[1]).status == ZO2_OK);
  CHECK(rig.info().commands == 2 * kCommands);
  CHECK(bytes_of(rig, out)[0] == static_cast<uint8_t>(kCommands - 1) &&
        bytes_of(rig, out)[1] == static_cast<uint8_t>(kCommands - 1));
}

void objects_of_two_devices_do_not_mix() {
  Rig one;
  Rig two;
  zo2_stream* const stream = one.stream("s");
  CHECK(one.table->stream_record(stream, two.event(), &one.error) == ZO2_STATUS_INVALID_ARGUMENT &&
        contains(one.error, "another device"));
  CHECK(one.table->stream_hold(stream, two.gate(), &one.error) == ZO2_STATUS_INVALID_ARGUMENT);
  CHECK(one.table->fill(stream, {two.buffer(ZO2_BUFFER_HOST, 4), 0}, 0, 4, &one.error) == ZO2_STATUS_INVALID_ARGUMENT);
}

void device_memory_is_bounded() {
  zo2_device_options options = {};
  options.memory_limit = 1000;
  Rig rig(options);
  zo2_buffer* held = nullptr;
  zo2_buffer* none = nullptr;
  CHECK(rig.table->buffer_create(rig.device, ZO2_BUFFER_DEVICE, 700, &held, &rig.error) == ZO2_OK);
  CHECK(rig.table->buffer_create(rig.device, ZO2_BUFFER_DEVICE, 301, &none, &rig.error) == ZO2_STATUS_OUT_OF_MEMORY);
  CHECK(
      contains(rig.error, "301 bytes") && contains(rig.error, "700 are in use") && contains(rig.error, "limit is 1000"),
      "%s", rig.error.message);
  CHECK(none == nullptr);
  CHECK(rig.table->buffer_create(rig.device, ZO2_BUFFER_DEVICE, UINT64_MAX, &none, &rig.error) ==
        ZO2_STATUS_OUT_OF_MEMORY);
  CHECK(rig.table->buffer_create(rig.device, ZO2_BUFFER_HOST, UINT64_MAX, &none, &rig.error) ==
        ZO2_STATUS_OUT_OF_MEMORY);
  rig.buffer(ZO2_BUFFER_DEVICE, 300);
  rig.buffer(ZO2_BUFFER_HOST, 5000);
  CHECK(rig.info().device_bytes == 1000 && rig.info().host_bytes == 5000,
        "host memory does not count against the limit");
  rig.table->buffer_destroy(held);
  CHECK(rig.info().device_bytes == 300 && rig.info().device_bytes_peak == 1000);
  rig.buffer(ZO2_BUFFER_DEVICE, 700);
}

// In the order in which they are asked for; what is refused leaves nothing, and what comes behind it is had.
void the_test_mode_refuses_one_allocation() {
  const uint64_t bytes = 12345;
  for (uint64_t refused = 1; refused <= 5; ++refused) {
    zo2_device_options options = {};
    options.refuse_allocation = refused;
    Rig rig(options);
    const auto refuses = [&](uint64_t number, const char* what, zo2_status status) {
      CHECK(status == (number == refused ? ZO2_STATUS_OUT_OF_MEMORY : ZO2_OK), "%s: %s", what, rig.error.message);
      if (number == refused) CHECK(contains(rig.error, what), "%s", rig.error.message);
    };
    zo2_stream* stream = nullptr;
    zo2_buffer* buffers[3] = {};
    zo2_layout* layout = nullptr;
    zo2_segment segment = {};
    segment.count = 16;
    refuses(1, "memory for a stream", rig.table->stream_create(rig.device, "s", &stream, &rig.error));
    const auto create = [&](zo2_buffer_kind kind, int i) {
      return rig.table->buffer_create(rig.device, kind, bytes, &buffers[i], &rig.error);
    };
    refuses(2, "12345 bytes of device memory", create(ZO2_BUFFER_DEVICE, 0));
    refuses(3, "12345 bytes of host memory", create(ZO2_BUFFER_HOST, 1));
    const zo2_file_options file = {"/tmp", bytes};
    refuses(4, "12345 bytes of file memory", rig.table->file_create(rig.device, &file, &buffers[2], &rig.error));
    refuses(5, "memory for a layout", rig.table->layout_create(rig.device, &segment, 1, &layout, &rig.error));
    CHECK((stream == nullptr) == (refused == 1) && (layout == nullptr) == (refused == 5));
    const zo2_device_info info = rig.info();
    CHECK(info.allocations == 5, "%d", static_cast<int>(info.allocations));
    const uint64_t held[] = {info.device_bytes, info.host_bytes, info.file_bytes};
    for (int i = 0; i < 3; ++i) {
      CHECK((buffers[i] == nullptr) == (refused == uint64_t(i) + 2));
      CHECK(held[i] == (buffers[i] == nullptr ? 0 : bytes), "%d: %d bytes", i, static_cast<int>(held[i]));
      rig.table->buffer_destroy(buffers[i]);
    }
    rig.table->stream_destroy(stream);
    rig.table->layout_destroy(layout);
  }
}

void buffers_are_aligned_and_host_ones_are_zero() {
  Rig rig;
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, uint64_t{4096}, uint64_t{4097},
                               (uint64_t{2} << 20) + 1, uint64_t{7} << 20}) {
    zo2_buffer* const buffer = rig.buffer(ZO2_BUFFER_HOST, bytes);
    const uint8_t* const data = bytes_of(rig, buffer);
    CHECK(reinterpret_cast<uintptr_t>(data) % (bytes < 4096 ? 256 : 4096) == 0 &&
          rig.table->buffer_bytes(buffer) == bytes);
    bool zero = true;
    for (uint64_t i = 0; i < bytes; ++i) zero = zero && data[i] == 0;
    CHECK(zero, "%d bytes", static_cast<int>(bytes));
  }
  CHECK(rig.table->buffer_host_pointer(rig.buffer(ZO2_BUFFER_DEVICE, 8)) == nullptr);
  zo2_buffer* none = nullptr;
  CHECK(rig.table->buffer_create(rig.device, static_cast<zo2_buffer_kind>(2), 8, &none, &rig.error) ==
        ZO2_STATUS_INVALID_ARGUMENT);
  CHECK(contains(rig.error, "2 is not a kind of buffer that is made so") && none == nullptr);
}

void a_device_that_does_not_exist_is_refused() {
  const zo2_backend* const table = zo2::test::backend();
  zo2_error error;
  int32_t count = 0;
  CHECK(table->device_count(&count, &error) == ZO2_OK && count >= 1);
  CHECK(table->contract_version == ZO2_CONTRACT_VERSION && strcmp(table->kind, on_cuda() ? "cuda" : "cpu") == 0);
  zo2_device* device = nullptr;
  for (const int32_t ordinal : {count, -1}) {
    zo2_device_options options = {};
    options.ordinal = ordinal;
    const std::string name = std::string(table->kind) + ":" + std::to_string(ordinal);
    CHECK(table->device_open(&options, &device, &error) == ZO2_STATUS_DEVICE && contains(error, name.c_str()), "%s",
          error.message);
    CHECK(device == nullptr);
  }
  CHECK(table->device_open(nullptr, &device, &error) == ZO2_STATUS_INVALID_ARGUMENT &&
            contains(error, "options is null") && device == nullptr,
        "%s", error.message);
}

void info_describes_the_device() {
  zo2_device_options options = {};
  options.memory_limit = 4096;
  Rig rig(options);
  const zo2_device_info info = rig.info();
  CHECK(strlen(info.name) > 0 && strlen(info.features) > 0);
  CHECK(info.memory_limit == 4096 && info.device_bytes == 0 && info.host_bytes == 0 && info.commands == 0 &&
        info.launches == 0);
  CHECK(info.memory_total > 0 && info.memory_free <= info.memory_total);
}

}  // namespace

int main() {
  for (const uint64_t seed : {0, 1, 2}) events_order_streams_under_random_delays(seed);
  an_event_never_recorded_is_an_error();
  a_wait_binds_to_the_latest_record_when_it_is_enqueued();
  times_follow_the_order_of_a_stream();
  a_failure_poisons_its_stream_and_those_that_wait_for_it();
  stream_fail_is_a_failure_and_the_first_one_counts();
  destroying_a_stream_cancels_what_has_not_started();
  closing_a_device_cancels_its_streams_and_calls_every_notification();
  a_long_delay_is_cut_short_by_destroying();
  every_notification_is_called_exactly_once();
  a_notification_may_call_the_table();
  streams_may_be_fed_from_two_threads();
  objects_of_two_devices_do_not_mix();
  a_device_that_does_not_exist_is_refused();
  info_describes_the_device();
  device_memory_is_bounded();
  the_test_mode_refuses_one_allocation();
  buffers_are_aligned_and_host_ones_are_zero();
  return zo2::test::report();
}
