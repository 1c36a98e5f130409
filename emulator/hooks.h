// What the race detector is told; defined by race.cc in the race build, never called in the others. All are called by
// the holder of the runtime's lock, so that the detector needs no lock of its own but for what instrumented host code
// calls.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/internal.h"

#ifndef ZO2_EMU_RACE
#define ZO2_EMU_RACE 0
#endif

namespace zo2::emu {

constexpr bool kRace = ZO2_EMU_RACE != 0;

namespace hooks {

// ---- memory. `pinned`: from cudaHostAlloc; the host may have written any of it. All of it lies in the arena
// (arena.h); registered memory lies anywhere. Freed addresses are used again late, so that shadow memory should be
// given back.
void allocated(const void* address, size_t bytes, bool pinned);
void freed(const void* address, size_t bytes, bool pinned);
void registered(const void* address, size_t bytes);
void unregistered(const void* address, size_t bytes);

// ---- streams, at the time of the call that enqueues. Streams have small numbers, 0 is the default stream; numbers are
// used again.
void stream_created(int stream);
void stream_destroyed(int stream);  // everything of it has run
// Operation `op` (1, 2, ... over all streams) was appended to `stream`; `name` is the kernel's, or "memcpy", "memset",
// "host function", "event record", "event wait".
void enqueued(uint64_t op, int stream, const char* name);
// `event` names one record, not the cudaEvent_t: it stands for what `stream` has now, and is never recorded again.
void event_recorded(const void* event, int stream);
void event_destroyed(const void* event);
void stream_waits(int stream, const void* event);
// What is enqueued on `stream` from now on follows what `other` has now (the default stream's rule).
void stream_follows(int stream, int other);
// The host has seen that `event`, or all of `stream`, is done.
void host_saw_event(const void* event);
void host_saw_stream(int stream);
void device_reset();

// ---- operations, while they run
void copies(uint64_t op, void* destination, const void* source, size_t bytes);
void fills(uint64_t op, void* destination, size_t bytes);
// By the host function that runs on this thread, or for it.
void host_function_touches(const void* address, size_t bytes, bool write);
// The body of a host function runs on the calling thread, WITHOUT the runtime's lock between the two; these two are
// called with it.
void host_function_begins(uint64_t op);
void host_function_ends(uint64_t op);

void launch_begins(const Launch& launch);  // resident_threads() are there
void launch_ends(const Launch& launch, bool abandoned);
// its threads, numbered by slot, start anew; its shared memory is uninitialised
void block_begins(Block& block);
void block_ends(Block& block);

// ---- threads of a launch
// What these threads did before is ordered before what any of them does next: a barrier or __syncwarp was passed.
void joined(Thread* const* threads, size_t count);
// An instruction of `current`, or of the emulator on its behalf, touches device, pinned or shared memory.
void access(const void* address, size_t bytes, bool write, bool atomic, Where where);

}  // namespace hooks
}  // namespace zo2::emu
