#include "cuda/runtime/pinned.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <string>

#include "contract/host.h"
#include "contract/status.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/lock_refusal.h"
#include "cuda/runtime/touch.h"

namespace zo2::cuda {
namespace {

constexpr uint64_t kAlignment = 256;
// What direct I/O takes.
constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr unsigned kRegistered = cudaHostRegisterPortable | cudaHostRegisterMapped;
constexpr unsigned kAllocated = cudaHostAllocPortable | cudaHostAllocMapped;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

[[noreturn]] void refuse(const LockFacts& facts, const std::string& refused) {
  contract::fail(ZO2_STATUS_OUT_OF_MEMORY, "%" PRIu64 " bytes of host memory cannot be had for the device%s%s: %s",
                 facts.bytes, refused.empty() ? "" : "; ", refused.c_str(), why_not_locked(facts).c_str());
}

// Whether the call says something about memory, or about what this host can do, and nothing about a lost device.
bool concerns_memory(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorNotPermitted:
    case cudaErrorNotSupported:
    case cudaErrorOperatingSystem:
    case cudaErrorHostMemoryAlreadyRegistered:
      return true;
    default:
      return false;
  }
}

// `bytes` (a multiple of the huge page) of zero pages that start on a huge page; null, with errno, when there is no
// room.
void* map_huge(uint64_t bytes) {
  void* const whole =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  uint8_t* const start = static_cast<uint8_t*>(whole);
  const uint64_t before = round_up(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  if (before != 0) munmap(start, before);
  if (before != kHugePage) munmap(start + before + bytes, kHugePage - before);
  madvise(start + before, bytes, MADV_HUGEPAGE);  // a wish: fewer pages to lock where it is granted
  madvise(start + before, bytes, MADV_DONTFORK);  // a child that writes must not move pages away from under the device
  return start + before;
}

}  // namespace

PinnedArena::PinnedArena(uint64_t bytes) {
  const uint64_t whole = round_up(std::max<uint64_t>(bytes, 1), kHugePage);
  LockFacts facts{bytes, contract::host(), false, 0, false};
  // A kernel that runs out of memory while pages are touched ends processes, perhaps this one.
  if (whole > facts.host.memory_free && bytes > kHugePage) refuse(facts, "");
  std::string refused;
  if (bytes > kHugePage) {
    base_ = map_huge(whole);
    if (base_ == nullptr) {
      refused = std::string("mmap said: ") + std::strerror(errno);
      refuse(lock_facts(bytes, nullptr), refused);
    }
    touch_pages(base_, whole);
    const cudaError_t status = cudaHostRegister(base_, static_cast<size_t>(whole), kRegistered);
    if (status == cudaSuccess) {
      mapped_ = whole;
      data_ = static_cast<uint8_t*>(base_);
      return;
    }
    ignore(status);
    facts = lock_facts(bytes, base_);
    munmap(base_, whole);
    base_ = nullptr;
    if (!concerns_memory(status)) check_call(status, "cudaHostRegister");
    refused = said("cudaHostRegister", status) + ", ";
  }
  const uint64_t alignment = bytes >= kPage ? kPage : kAlignment;
  const uint64_t room = std::max<uint64_t>(bytes, 1) + alignment;
  const cudaError_t status = cudaHostAlloc(&base_, static_cast<size_t>(room), kAllocated);
  if (status != cudaSuccess) {
    ignore(status);
    base_ = nullptr;
    if (!concerns_memory(status)) check_call(status, "cudaHostAlloc");
    if (bytes <= kHugePage) facts = lock_facts(bytes, nullptr);
    refuse(facts, refused + said("cudaHostAlloc", status));
  }
  data_ = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(base_), alignment));
  zero_bytes(data_, bytes);
}

PinnedArena::~PinnedArena() {
  if (base_ == nullptr) return;
  if (mapped_ == 0) {
    ZO2_CUDA_QUIET(cudaFreeHost(base_));
    return;
  }
  ZO2_CUDA_QUIET(cudaHostUnregister(base_));
  munmap(base_, mapped_);
}

uint64_t host_memory_total() { return contract::host().memory_total; }

}  // namespace zo2::cuda
