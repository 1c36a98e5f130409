#include "emulator/race_order.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "emulator/hooks.h"
#include "emulator/race_callbacks.h"

namespace zo2::emu {
namespace race {
namespace {

// Per stream, the last command known to be done.
using Clock = std::vector<Op>;

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) {
    clock.resize(other.size());
  }
  for (size_t i = 0; i < other.size(); i++) {
    clock[i] = std::max(clock[i], other[i]);
  }
}

struct Command {
  int stream = 0;
  const std::string* name = nullptr;
  Clock clock;  // with the command itself
};

struct State {
  std::vector<Clock> streams;
  std::map<const void*, Clock> events;
  Clock host;
  std::vector<Command> commands;  // commands[i] is number first + i
  Op first = 1;
  std::set<std::string> names;

  Clock& stream(int number) {
    if (streams.size() <= static_cast<size_t>(number)) {
      streams.resize(number + 1);
    }
    return streams[number];
  }
  const Command* find(Op op) const {
    return op >= first && op - first < commands.size() ? &commands[op - first] : nullptr;
  }
};

// Lives as long as the process: instrumented code runs until its very end.
State& state() {
  static State& only = *new State;
  return only;
}

bool known(const Clock& clock, const Command& command, Op op) {
  const size_t stream = static_cast<size_t>(command.stream);
  return stream < clock.size() && clock[stream] >= op;
}

}  // namespace

Op last_op() { return state().first + static_cast<Op>(state().commands.size()) - 1; }

bool before(Op earlier, Op later) {
  const Command* const command = state().find(earlier);
  const Command* const other = state().find(later);
  return earlier == later || command == nullptr || other == nullptr || known(other->clock, *command, earlier);
}

bool before_host(Op earlier) {
  const Command* const command = state().find(earlier);
  return command == nullptr || known(state().host, *command, earlier);
}

void command_is_done(Op op) {
  State& all = state();
  if (all.find(op) != nullptr) {
    Clock().swap(all.commands[op - all.first].clock);
  }
}

void forget_commands() {
  State& all = state();
  all.streams.clear();
  all.events.clear();
  all.host.clear();
  all.commands.clear();
  all.first = 1;
}

std::string describe_op(Op op) {
  const Command* const command = state().find(op);
  return command == nullptr ? "an earlier command" : *command->name + " on stream " + std::to_string(command->stream);
}

}  // namespace race

namespace hooks {

using race::state;

void stream_created(int stream) { state().stream(stream); }

void stream_destroyed(int) {}

void enqueued(uint64_t op, int stream, const char* name) {
  race::State& all = state();
  race::Clock& clock = all.stream(stream);
  race::join(clock, all.host);
  if (clock.size() <= static_cast<size_t>(stream)) {
    clock.resize(stream + 1);
  }
  const race::Op number = static_cast<race::Op>(op);
  clock[stream] = number;
  if (all.commands.empty()) {
    all.first = number;
  }
  all.commands.resize(number - all.first + 1);
  all.commands.back() = {stream, &*all.names.insert(name).first, clock};
}

void event_recorded(const void* event, int stream) { state().events[event] = state().stream(stream); }

void event_destroyed(const void* event) { state().events.erase(event); }

void stream_waits(int stream, const void* event) {
  const auto found = state().events.find(event);
  if (found != state().events.end()) {
    race::join(state().stream(stream), found->second);
  }
}

void stream_follows(int stream, int other) {
  const race::Clock clock = state().stream(other);
  race::join(state().stream(stream), clock);
}

void host_saw_event(const void* event) {
  const auto found = state().events.find(event);
  if (found != state().events.end()) {
    race::join(state().host, found->second);
  }
}

void host_saw_stream(int stream) { race::join(state().host, state().stream(stream)); }

void host_function_begins(uint64_t op) {
  race::set_function_op(static_cast<race::Op>(op));
  // What its stream did before is done, and the function may tell any host thread so.
  if (const race::Command* const command = state().find(static_cast<race::Op>(op))) {
    race::join(state().host, command->clock);
  }
}

void host_function_ends(uint64_t op) {
  race::set_function_op(0);
  race::command_is_done(static_cast<race::Op>(op));
}

}  // namespace hooks
}  // namespace zo2::emu
