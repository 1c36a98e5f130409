// What is true of the CPU backend's devices alone: threads, delays, forks. The rules of streams are those of
// runtime_test.cc.
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>

#include "cpu/runtime/thread.h"
#include "rig.h"

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

void a_device_with_too_many_threads_is_refused() {
  const zo2_backend* const table = zo2_cpu_backend();
  zo2_error error;
  zo2_device* device = nullptr;
  zo2_device_options options = {};
  options.threads = 5000;
  CHECK(table->device_open(&options, &device, &error) == ZO2_STATUS_INVALID_ARGUMENT && contains(error, "5000"));
  CHECK(device == nullptr);
}

void info_describes_the_cpu() {
  zo2_device_options options = {};
  options.threads = 3;
  options.memory_limit = 4096;
  options.generic_kernels = 1;
  Rig rig(options);
  const zo2_device_info info = rig.info();
  CHECK(strcmp(info.kind, "cpu") == 0 && strlen(info.name) > 0);
  CHECK(strncmp(info.features, "generic; ", 9) == 0, "%s", info.features);
  CHECK(info.threads == 3 && info.memory_limit == 4096);
  CHECK(info.memory_total > 0 && info.memory_free <= info.memory_total);
}

// What is read before it was written shows: the CPU backend's test mode does not leave zeros there.
void device_memory_is_not_a_number_under_delays() {
  for (const uint64_t bytes : {uint64_t{64}, uint64_t{3} << 20}) {
    Rig rig(delayed(1, 1));
    const std::vector<uint32_t> words = rig.read<uint32_t>(rig.stream("s"), rig.buffer(ZO2_BUFFER_DEVICE, bytes), 16);
    CHECK(words == std::vector<uint32_t>(16, UINT32_MAX));
  }
}

void threads_of_ours_round_to_nearest_whoever_starts_them() {
  std::fesetround(FE_UPWARD);
  int mode = -1;
  zo2::cpu::start_thread("rounding", [&] { mode = std::fegetround(); }).join();
  std::fesetround(FE_TONEAREST);
  CHECK(mode == FE_TONEAREST);
}

#if !defined(__SANITIZE_THREAD__)

// Runs `body` in a child that is killed after a minute. Its exit code; -1 when it hung or crashed.
template <typename Body>
int in_child(Body body) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    body();
    _exit(99);
  }
  int state = 0;
  if (child < 0 || waitpid(child, &state, 0) != child) return -1;
  return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

void a_process_exits_while_a_stream_is_held() {
  const int code = in_child([] {
    Rig* const rig = new Rig();
    zo2_stream* const stream = rig->stream("held");
    rig->ok(rig->table->stream_hold(stream, rig->gate(), &rig->error));
    rig->ok(rig->table->stream_record(stream, rig->event(), &rig->error));
    exit(7);
  });
  CHECK(code == 7, "%d", code);
}

void a_fork_gets_errors_and_does_not_hang() {
  Rig rig;
  zo2_stream* const stream = rig.stream("s");
  zo2_event* const event = rig.event();
  rig.ok(rig.table->stream_record(stream, event, &rig.error));
  rig.finish(stream);
  const int code = in_child([&] {
    zo2_event* other = nullptr;
    const bool refused = rig.table->stream_record(stream, event, &rig.error) == ZO2_STATUS_DEVICE &&
                         contains(rig.error, "forked") &&
                         rig.table->event_create(rig.device, &other, &rig.error) == ZO2_STATUS_DEVICE;
    rig.destroy();
    _exit(refused ? 7 : 8);
  });
  CHECK(code == 7, "%d", code);
}

#endif

}  // namespace

int main() {
#if !defined(__SANITIZE_THREAD__)  // which does not support threads in a fork
  a_process_exits_while_a_stream_is_held();
  a_fork_gets_errors_and_does_not_hang();
#endif
  a_device_with_too_many_threads_is_refused();
  info_describes_the_cpu();
  device_memory_is_not_a_number_under_delays();
  threads_of_ours_round_to_nearest_whoever_starts_them();
  return zo2::test::report();
}
