// The race detector: happens-before over the threads of a launch and over streams, by vector clocks; memory that was
// never allocated; device memory that was never written; host memory that a kernel touches. hooks.h is what it is told;
// here is what hopper.cc asks besides.
//
// Kernel files of the race build are compiled with -fsanitize=thread, whose callbacks are ours (race_callbacks.cc).
// Only that build links the files race*.cc; the others never call what they define.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/internal.h"

namespace zo2::emu::race {

// Clocks of a block's threads, carried by something in between: an mbarrier. Empty: of nobody.
using Clock = std::vector<uint32_t>;

// What `thread` did before now happens before what happens after `clock` is acquired.
void release(Clock& clock, Thread& thread);
// The same, without what the thread has learned of others.
void release_own(Clock& clock, Thread& thread);
void acquire(Thread& thread, const Clock& clock);

// An access that an instruction issued by `thread` makes while another thread, or none, runs.
void access_as(Thread& thread, const void* address, size_t bytes, bool write, Where where);

// An asynchronous copy: the write to shared memory that was just recorded for `thread` may land at any time from now
// on, and no barrier ends that.
void write_is_under_way(Thread& thread, const void* address, size_t bytes);
// It has landed, and happened at `clock`, the thread's when it was issued. A landing that is recorded as a write of its
// own needs no such call.
void write_has_landed(Thread& thread, const void* address, size_t bytes, uint32_t clock);

}  // namespace zo2::emu::race
