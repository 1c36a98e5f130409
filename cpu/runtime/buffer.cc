#include "cpu/runtime/buffer.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdlib>
#include <cstring>

#include "contract/status.h"
#include "cpu/runtime/device.h"

namespace zo2::cpu {
namespace {

constexpr uint64_t kAlignment = 256;
// Of host memory: what direct I/O takes.
constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// `bytes` (a multiple of the huge page) of zero pages that start on a huge page; null when there is no room.
uint8_t* map_huge(uint64_t bytes) {
  void* const whole = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  uint8_t* const start = static_cast<uint8_t*>(whole);
  const uint64_t before = round_up(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  if (before != 0) munmap(start, before);
  if (before != kHugePage) munmap(start + before + bytes, kHugePage - before);
  madvise(start + before, bytes, MADV_HUGEPAGE);  // a wish: fewer page faults and TLB misses where it is granted
  return start + before;
}

}  // namespace

Buffer::Buffer(std::shared_ptr<Device> device, zo2_buffer_kind kind, uint64_t bytes)
    : contract::Memory{device.get(), kind, bytes, nullptr}, device_(std::move(device)) {
  device_->reserve(kind, bytes);
  const bool poisoned = kind == ZO2_BUFFER_DEVICE && device_->delay_microseconds() != 0;
  if (bytes > kHugePage) {
    mapped_ = round_up(bytes, kHugePage);
    data = map_huge(mapped_);
  } else {
    const uint64_t alignment = kind == ZO2_BUFFER_HOST && bytes >= kPage ? kPage : kAlignment;
    data = static_cast<uint8_t*>(std::aligned_alloc(alignment, round_up(bytes, alignment) + alignment));
    if (data != nullptr && kind == ZO2_BUFFER_HOST) std::memset(data, 0, bytes);
  }
  if (data == nullptr) {
    device_->release(kind, bytes);
    contract::fail(ZO2_STATUS_OUT_OF_MEMORY,
                   "%" PRIu64 " bytes of %s memory were asked for, and the machine has no room for them; plan for less",
                   bytes, kind == ZO2_BUFFER_DEVICE ? "device" : "host");
  }
  if (poisoned) std::memset(data, 0xFF, bytes);
}

Buffer::Buffer(std::shared_ptr<Device> device, const zo2_file_options& options)
    : contract::Memory{device.get(), ZO2_BUFFER_FILE, options.bytes, nullptr},
      device_(std::move(device)),
      file_(std::make_unique<disk::File>(options.folder, options.bytes)) {
  device_->reserve(kind, booked());
}

Buffer::Buffer(std::shared_ptr<Device> device, const char* path)
    : contract::Memory{device.get(), ZO2_BUFFER_FILE, 0, nullptr, true},
      device_(std::move(device)),
      file_(std::make_unique<disk::File>(path)) {
  bytes = file_->bytes();
  device_->reserve(kind, booked());
}

Buffer::~Buffer() {
  if (mapped_ != 0) {
    munmap(data, mapped_);
  } else {
    std::free(data);
  }
  device_->release(kind, booked());
}

}  // namespace zo2::cpu
