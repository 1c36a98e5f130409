// What the files of the emulated runtime API share.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "emulator/streams.h"

namespace zo2::emu {

// Remembers an error for this thread's cudaGetLastError, and returns it.
cudaError_t give(cudaError_t status);
// Prints a report about a call that is refused, which does not fail the device.
void report_call(const char* function, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A record of an event: what a stream had been given when it was recorded. Made and destroyed under the runtime's lock.
struct Record {
  Prefix prefix;
  double seconds = 0;  // when it was reached

  ~Record();
};

// Whether the host may hand [address, address + bytes) to the device; device memory, pinned memory, registered memory.
enum class MemoryKind { kPageable, kDevice, kPinned, kRegistered };
MemoryKind memory_kind(const void* address);
bool any_registered(const void* address, size_t bytes);

// Takes the lock, and leaves with the device's failure if it has one.
#define ZO2_EMU_ENTER()                       \
  const std::lock_guard hold(runtime_lock()); \
  if (const cudaError_t failed = device_status(); failed != cudaSuccess) return give(failed)

}  // namespace zo2::emu
