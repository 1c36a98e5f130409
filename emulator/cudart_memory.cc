// Memory of the emulated runtime API.
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "emulator/arena.h"
#include "emulator/cudart.h"
#include "emulator/hooks.h"
#include "emulator/loading.h"
#include "emulator/memory_calls.h"

namespace zo2::emu {
namespace {

// Registered ranges by their start.
std::map<uintptr_t, size_t>& registered() {
  static auto* ranges = new std::map<uintptr_t, size_t>;
  return *ranges;
}

// Whether the device may touch [address, address + bytes): all of it in one allocation, or none of it in the arena.
bool within_bounds(const void* address, size_t bytes) {
  if (!in_arena(address)) return true;
  const Allocation* found = find_allocation(address);
  return found != nullptr && static_cast<const char*>(address) + bytes <= found->address + found->bytes;
}

bool kind_matches(MemoryKind destination, MemoryKind source, cudaMemcpyKind kind) {
  const bool to_device = destination == MemoryKind::kDevice;
  const bool from_device = source == MemoryKind::kDevice;
  switch (kind) {
    case cudaMemcpyDefault:
      return true;
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return destination != MemoryKind::kPageable && source != MemoryKind::kPageable;
  }
  return false;
}

cudaError_t check_copy(void* destination, const void* source, size_t bytes, cudaMemcpyKind kind) {
  if (!within_bounds(destination, bytes) || !within_bounds(source, bytes)) {
    report_call("cudaMemcpy", "%zu bytes from %p to %p are not within one allocation each", bytes, source, destination);
    return cudaErrorInvalidValue;
  }
  if (!kind_matches(memory_kind(destination), memory_kind(source), kind)) {
    report_call("cudaMemcpy", "direction %d does not fit the pointers %p (source) and %p (destination)",
                static_cast<int>(kind), source, destination);
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

// As CUDA does: pageable memory is read before the call returns, and written before it returns.
cudaError_t copy(const std::shared_ptr<Stream>& stream, void* destination, const void* source, size_t bytes) {
  if (memory_kind(source) == MemoryKind::kPageable) {
    const char* start = static_cast<const char*>(source);
    auto staged = std::make_shared<std::vector<char>>(start, start + bytes);
    enqueue(stream, "memcpy", [=](uint64_t id) {
      if constexpr (kRace) hooks::fills(id, destination, bytes);
      memcpy(destination, staged->data(), bytes);
      static_cast<void>(id);
    });
  } else {
    enqueue(stream, "memcpy", [=](uint64_t id) {
      if constexpr (kRace) hooks::copies(id, destination, source, bytes);
      memmove(destination, source, bytes);
      static_cast<void>(id);
    });
  }
  if (memory_kind(destination) != MemoryKind::kPageable) return cudaSuccess;
  wait_for(stream->all());
  if constexpr (kRace) hooks::host_saw_stream(stream->number);
  return device_status();
}

cudaError_t fill(const std::shared_ptr<Stream>& stream, void* destination, int value, size_t bytes) {
  if (memory_kind(destination) == MemoryKind::kPageable || !within_bounds(destination, bytes)) {
    report_call("cudaMemset", "%zu bytes at %p are not within one allocation", bytes, destination);
    return cudaErrorInvalidValue;
  }
  enqueue(stream, "memset", [=](uint64_t id) {
    if constexpr (kRace) hooks::fills(id, destination, bytes);
    memset(destination, value, bytes);
    static_cast<void>(id);
  });
  return cudaSuccess;
}

cudaError_t wait_for_default_stream() {
  const auto stream = find_stream(nullptr);
  wait_for(stream->all());
  if constexpr (kRace) hooks::host_saw_stream(stream->number);
  return device_status();
}

// Freeing waits for the whole device, as cudaFree does; after a failure there is nothing to wait for.
cudaError_t free_memory(void* address, bool pinned) {
  const std::lock_guard hold(runtime_lock());
  const cudaError_t failed = device_status();
  if (address == nullptr) return give(failed);
  if (failed == cudaSuccess) wait_for_all();
  if (!release(address, pinned)) {
    report_call(pinned ? "cudaFreeHost" : "cudaFree", "%p is not the start of an allocation", address);
    return give(cudaErrorInvalidValue);
  }
  const cudaError_t status = device_status();
  forget_failure_when_unused();
  return give(status);
}

cudaError_t allocate_memory(void** address, size_t bytes, bool pinned) {
  ZO2_EMU_ENTER();
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  const char* const function = pinned ? "cudaHostAlloc" : "cudaMalloc";
  if (!outlasts_held_streams(function)) return give(cudaErrorNotSupported);
  if (const cudaError_t refused = note_memory_call(function); refused != cudaSuccess) return give(refused);
  *address = allocate(bytes, pinned);
  return give(*address == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

}  // namespace

size_t registered_ranges() { return registered().size(); }

bool any_registered(const void* address, size_t bytes) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  auto after = registered().upper_bound(start + (bytes == 0 ? 0 : bytes - 1));
  if (after == registered().begin()) return false;
  const auto& [base, size] = *std::prev(after);
  return base + size > start;
}

MemoryKind memory_kind(const void* address) {
  if (const Allocation* found = find_allocation(address))
    return found->pinned ? MemoryKind::kPinned : MemoryKind::kDevice;
  return any_registered(address, 1) ? MemoryKind::kRegistered : MemoryKind::kPageable;
}

}  // namespace zo2::emu

using namespace zo2::emu;

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) { return allocate_memory(address, bytes, false); }
cudaError_t cudaFree(void* address) { return free_memory(address, false); }
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) { return allocate_memory(address, bytes, true); }
cudaError_t cudaMallocHost(void** address, size_t bytes) { return allocate_memory(address, bytes, true); }
cudaError_t cudaFreeHost(void* address) { return free_memory(address, true); }

cudaError_t cudaHostRegister(void* address, size_t bytes, unsigned) {
  ZO2_EMU_ENTER();
  if (address == nullptr || bytes == 0) return give(cudaErrorInvalidValue);
  if (in_arena(address) || any_registered(address, bytes)) return give(cudaErrorHostMemoryAlreadyRegistered);
  if (!outlasts_held_streams("cudaHostRegister")) return give(cudaErrorNotSupported);
  if (const cudaError_t refused = note_memory_call("cudaHostRegister"); refused != cudaSuccess) return give(refused);
  registered()[reinterpret_cast<uintptr_t>(address)] = bytes;
  if constexpr (kRace) hooks::registered(address, bytes);
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* address) {
  const std::lock_guard hold(runtime_lock());
  if (device_status() == cudaSuccess) wait_for_all();
  const auto found = registered().find(reinterpret_cast<uintptr_t>(address));
  if (found == registered().end()) return give(cudaErrorHostMemoryNotRegistered);
  if constexpr (kRace) hooks::unregistered(address, found->second);
  registered().erase(found);
  return give(device_status());
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  ZO2_EMU_ENTER();
  const MemoryKind kind = memory_kind(host);
  if (kind != MemoryKind::kPinned && kind != MemoryKind::kRegistered) return give(cudaErrorInvalidValue);
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  ZO2_EMU_ENTER();
  const MemoryKind kind = memory_kind(address);
  *attributes = {};
  attributes->type = kind == MemoryKind::kDevice     ? cudaMemoryTypeDevice
                     : kind == MemoryKind::kPageable ? cudaMemoryTypeUnregistered
                                                     : cudaMemoryTypeHost;
  attributes->device = kind == MemoryKind::kPageable ? -2 : 0;
  attributes->devicePointer = kind == MemoryKind::kPageable ? nullptr : const_cast<void*>(address);
  attributes->hostPointer = kind == MemoryKind::kDevice ? nullptr : const_cast<void*>(address);
  return cudaSuccess;
}

// CUDA copies from host memory to host memory before it returns, whatever the stream still has to do.
cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t refused = check_copy(destination, source, bytes, kind); refused != cudaSuccess)
    return give(refused);
  if (memory_kind(destination) != MemoryKind::kDevice && memory_kind(source) != MemoryKind::kDevice) {
    report_call("cudaMemcpyAsync", "copies %zu bytes from host memory to host memory before it returns", bytes);
    return give(cudaErrorNotSupported);
  }
  return give(copy(stream, destination, source, bytes));
}

// As CUDA does: a copy from pageable memory to the device may still be on its way when this returns. The default
// stream waits for it; streams that do not follow that stream do not.
cudaError_t cudaMemcpy(void* destination, const void* source, size_t bytes, cudaMemcpyKind kind) {
  ZO2_EMU_ENTER();
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t refused = check_copy(destination, source, bytes, kind); refused != cudaSuccess)
    return give(refused);
  const bool late = memory_kind(source) == MemoryKind::kPageable && memory_kind(destination) == MemoryKind::kDevice;
  const cudaError_t status = copy(find_stream(nullptr), destination, source, bytes);
  return give(status != cudaSuccess || late ? status : wait_for_default_stream());
}

cudaError_t cudaMemsetAsync(void* destination, int value, size_t bytes, cudaStream_t handle) {
  ZO2_EMU_ENTER();
  const auto stream = find_stream(handle);
  if (stream == nullptr) return give(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  return give(fill(stream, destination, value, bytes));
}

// Like CUDA's, this may return before device memory is set.
cudaError_t cudaMemset(void* destination, int value, size_t bytes) {
  return cudaMemsetAsync(destination, value, bytes, nullptr);
}

}  // extern "C"
