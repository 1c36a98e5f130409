#include "emulator/memory_calls.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include "emulator/arena.h"
#include "emulator/streams.h"

namespace zo2::emu {
namespace {

struct Refusal {
  uint64_t after;  // calls that still pass
  cudaError_t status;
};

std::map<std::string, Refusal>& refusals() {
  static auto* wanted = new std::map<std::string, Refusal>;
  return *wanted;
}

uint64_t calls = 0;

}  // namespace

cudaError_t note_memory_call(const char* function) {
  ++calls;
  const auto found = refusals().find(function);
  if (found == refusals().end()) return cudaSuccess;
  if (found->second.after == 0) return found->second.status;
  --found->second.after;
  return cudaSuccess;
}

}  // namespace zo2::emu

// So many calls that give memory there were in this process.
extern "C" uint64_t zo2_emu_memory_calls(void) {
  const std::lock_guard hold(zo2::emu::runtime_lock());
  return zo2::emu::calls;
}

// Refuses calls of `function` ("cudaMalloc", "cudaHostAlloc", "cudaHostRegister") once `after` more have passed, until
// `status` cudaSuccess is given.
extern "C" void zo2_emu_refuse(const char* function, uint64_t after, cudaError_t status) {
  const std::lock_guard hold(zo2::emu::runtime_lock());
  if (status == cudaSuccess) {
    zo2::emu::refusals().erase(function);
  } else {
    zo2::emu::refusals()[function] = {after, status};
  }
}

// Pieces of memory that were given and not given back: device memory, pinned memory, registered ranges.
extern "C" uint64_t zo2_emu_live_memory(void) {
  const std::lock_guard hold(zo2::emu::runtime_lock());
  return zo2::emu::live_allocations() + zo2::emu::registered_ranges();
}
