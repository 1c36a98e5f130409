#include "emulator/race_clock.h"

#include <algorithm>

#include "emulator/hooks.h"
#include "emulator/race.h"
#include "emulator/race_shadow.h"

namespace zo2::emu {
namespace race {
namespace {

// Vectors that nobody uses, kept because barriers are many.
std::vector<Known*>& spares() {
  static std::vector<Known*>& only = *new std::vector<Known*>;
  return only;
}

Known* make_known() {
  Known* known;
  if (spares().empty()) {
    known = new Known;
  } else {
    known = spares().back();
    spares().pop_back();
  }
  known->users = 0;
  known->clocks.assign(threads_per_block(), 0);
  return known;
}

void assign(Thread& thread, Known* known) {
  Known* const old = static_cast<Known*>(thread.race.known);
  if (known != nullptr) {
    known->users++;
  }
  thread.race.known = known;
  if (old != nullptr && --old->users == 0) {
    spares().push_back(old);
  }
}

void maximise(std::vector<uint32_t>& clocks, const std::vector<uint32_t>& others) {
  for (size_t i = 0; i < others.size(); i++) {
    clocks[i] = std::max(clocks[i], others[i]);
  }
}

// What the thread does from now on is later than what others may learn of it by now.
void advance(Thread& thread) { thread.race.clock = std::min(thread.race.clock + 1, kLastClock); }

}  // namespace

void release(Clock& clock, Thread& thread) {
  clock.resize(threads_per_block(), 0);
  maximise(clock, known_of(thread).clocks);
  release_own(clock, thread);
}

void release_own(Clock& clock, Thread& thread) {
  clock.resize(threads_per_block(), 0);
  clock[thread.linear] = std::max(clock[thread.linear], thread.race.clock);
  advance(thread);
}

void acquire(Thread& thread, const Clock& clock) {
  if (clock.empty()) {
    return;
  }
  Known* const known = make_known();
  known->clocks = known_of(thread).clocks;
  maximise(known->clocks, clock);
  assign(thread, known);
}

}  // namespace race

namespace hooks {

void block_begins(Block& block) {
  race::Known* const nothing = race::make_known();
  const int threads = threads_per_block();
  for (int i = 0; i < threads; i++) {
    Thread& thread = *resident_threads()[block.slot * threads + i];
    thread.race.clock = 1;
    race::assign(thread, nothing);
  }
}

void block_ends(Block&) {}

void joined(Thread* const* threads, size_t count) {
  race::Known* const known = race::make_known();
  const void* last = nullptr;
  for (size_t i = 0; i < count; i++) {
    if (threads[i]->race.known != last) {
      last = threads[i]->race.known;
      race::maximise(known->clocks, race::known_of(*threads[i]).clocks);
    }
  }
  for (size_t i = 0; i < count; i++) {
    known->clocks[threads[i]->linear] = threads[i]->race.clock;
  }
  for (size_t i = 0; i < count; i++) {
    race::assign(*threads[i], known);
    race::advance(*threads[i]);
  }
}

}  // namespace hooks
}  // namespace zo2::emu
