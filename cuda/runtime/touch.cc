#include "cuda/runtime/touch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "contract/host.h"
#include "contract/status.h"
#include "cuda/runtime/thread.h"

// Of Linux 5.14: with older headers, the kernel that runs may know it all the same.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace zo2::cuda {
namespace {

// So many reach what memory can take, on any host.
constexpr uint64_t kMostThreads = 16;
// Below it a thread costs more than it brings. A multiple of the huge page, so that no two threads share one.
constexpr uint64_t kLeastShare = uint64_t{64} << 20;

using Body = std::function<void(uint8_t* from, uint64_t bytes)>;

void in_parallel(void* start, uint64_t bytes, const Body& body) {
  const uint64_t most = std::min<uint64_t>(kMostThreads, contract::host().cores);
  const uint64_t shares = std::clamp<uint64_t>(bytes / kLeastShare, 1, most);
  const uint64_t share = (bytes / shares + kLeastShare - 1) / kLeastShare * kLeastShare;
  const auto work = [&](uint64_t offset) {
    if (offset < bytes) body(static_cast<uint8_t*>(start) + offset, std::min(share, bytes - offset));
  };
  std::vector<std::thread> threads;
  threads.reserve(shares);
  uint64_t given = share;  // the first is for this thread
  try {
    for (; given < bytes; given += share) threads.push_back(start_thread("zo2 touch", [=] { work(given); }));
  } catch (const contract::Failure&) {
    // No further thread: the rest is for this one too.
  }
  work(0);
  for (; given < bytes; given += share) work(given);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

void touch_pages(void* start, uint64_t bytes) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  in_parallel(start, bytes, [page](uint8_t* from, uint64_t count) {
    if (madvise(from, count, MADV_POPULATE_WRITE) == 0) return;
    for (uint64_t offset = 0; offset < count; offset += page) {
      volatile uint8_t* const byte = from + offset;
      *byte = *byte;
    }
  });
}

void zero_bytes(void* start, uint64_t bytes) {
  in_parallel(start, bytes, [](uint8_t* from, uint64_t count) { std::memset(from, 0, count); });
}

}  // namespace zo2::cuda
