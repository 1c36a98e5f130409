#include "cuda/runtime/device.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>

#include "contract/status.h"
#include "cuda/kernel_list.h"
#include "cuda/runtime/build.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/pinned.h"
#include "cuda/runtime/thread.h"

namespace zo2::cuda {
namespace {

using contract::fail;

constexpr int kLeastCapability = 80;
constexpr int kMostOrdinals = 64;

// Devices of this process that are open, by ordinal: the last to go cleans up behind a GPU that failed.
std::atomic<int> open_devices[kMostOrdinals];

template <size_t size>
void put(char (&field)[size], const std::string& text) {
  std::snprintf(field, size, "%s", text.c_str());
}

std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* pattern, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

int attribute(cudaDeviceAttr name, int ordinal) {
  int value = 0;
  ZO2_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, ordinal));
  return value;
}

std::string device_name(int ordinal) {
  cudaDeviceProp properties;
  ZO2_CUDA_CHECK(cudaGetDeviceProperties(&properties, ordinal));
  return properties.name;
}

// 13000 is 13.0.
std::string version(int number) { return format("%d.%d", number / 1000, number % 1000 / 10); }

int checked_ordinal(int32_t ordinal) {
  const contract::DeviceCount found = count_devices();
  if (found.count == 0) fail(ZO2_STATUS_DEVICE, "cuda:%" PRId32 " cannot be opened: %s", ordinal, found.reason.c_str());
  if (ordinal >= 0 && ordinal < found.count && ordinal < kMostOrdinals) return ordinal;
  std::string list;
  for (int i = 0; i < found.count; ++i) list += format("%scuda:%d (%s)", i == 0 ? "" : ", ", i, device_name(i).c_str());
  fail(ZO2_STATUS_DEVICE, "cuda:%" PRId32 " does not exist; there %s %s", ordinal, found.count == 1 ? "is" : "are",
       list.c_str());
}

Traits read_traits(int ordinal, bool tf32) {
  Traits traits{};
  traits.capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor, ordinal) +
                      attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
  traits.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, ordinal);
  traits.shared_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  traits.tf32 = tf32;
  traits.shared_per_multiprocessor = attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, ordinal);
  if (traits.capability < kLeastCapability) {
    fail(ZO2_STATUS_UNSUPPORTED,
         "cuda:%d (%s) has compute capability %d.%d, but at least 8.0 is needed (Ampere and later)", ordinal,
         device_name(ordinal).c_str(), traits.capability / 10, traits.capability % 10);
  }
  if (attribute(cudaDevAttrUnifiedAddressing, ordinal) == 0 ||
      attribute(cudaDevAttrCanUseHostPointerForRegisteredMem, ordinal) == 0) {
    fail(ZO2_STATUS_UNSUPPORTED, "cuda:%d (%s) does not see host memory at the host's addresses, which is needed",
         ordinal, device_name(ordinal).c_str());
  }
  return traits;
}

}  // namespace

contract::DeviceCount count_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  ignore(status);
  if (status == cudaSuccess && count > 0) return {count, {}};
  if (status == cudaSuccess || status == cudaErrorNoDevice)
    return {0, "no NVIDIA GPU is visible (see nvidia-smi and CUDA_VISIBLE_DEVICES)"};
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    int runtime = 0;
    ZO2_CUDA_QUIET(cudaDriverGetVersion(&driver));
    ZO2_CUDA_QUIET(cudaRuntimeGetVersion(&runtime));
    if (driver == 0) return {0, "no NVIDIA driver is installed"};
    return {0, "the NVIDIA driver supports CUDA " + version(driver) + ", but this build needs " + version(runtime) +
                   "; update the driver"};
  }
  return {0, std::string("CUDA cannot start: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")"};
}

Device::Device(const zo2_device_options& options)
    : options_(options), ordinal_(checked_ordinal(options.ordinal)), process_(getpid()) {
  traits_ = read_traits(ordinal_, options.tf32 != 0);
  enter();
  load_kernels();
  size_t free = 0;
  size_t total = 0;
  ZO2_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  memory_total_ = total;
  clock_ = std::make_unique<Clock>();
  events_ = std::make_shared<EventPool>();
  words_ = std::make_unique<WordsPool>();
  files_ = std::make_unique<disk::Engine>(options.no_io_uring != 0, start_thread);
  ++open_devices[ordinal_];
}

Device::~Device() {
  enter_quietly();
  words_ = nullptr;
  events_ = nullptr;
  clock_ = nullptr;
  // A GPU that failed answers every call with that failure until it is reset; nothing of ours is left on it.
  if (--open_devices[ordinal_] == 0) {
    const cudaError_t status = cudaDeviceSynchronize();
    ignore(status);
    if (status != cudaSuccess) ZO2_CUDA_QUIET(cudaDeviceReset());
  }
}

void Device::close() {
  std::vector<Stream*> streams;
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    closed_ = true;
    streams = streams_;
  }
  // All are cancelled before any is joined: one may be waiting for another.
  for (Stream* stream : streams) stream->cancel();
  for (Stream* stream : streams) stream->join();
}

void Device::describe(zo2_device_info* info) {
  enter();
  *info = {};
  int driver = 0;
  int runtime = 0;
  ZO2_CUDA_CHECK(cudaDriverGetVersion(&driver));
  ZO2_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  put(info->kind, kEmulated ? "cuda-emulated" : "cuda");
  put(info->name, device_name(ordinal_));
  put(info->features,
      format("compute capability %d.%d; %d SMs; CUDA %s; driver for CUDA %s%s; files: %s", traits_.capability / 10,
             traits_.capability % 10, traits_.multiprocessors, version(runtime).c_str(), version(driver).c_str(),
             traits_.tf32 ? "; tf32" : "", files_->name().c_str()));
  size_t free = 0;
  size_t total = 0;
  ZO2_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  info->memory_total = total;
  info->memory_free = free;
  info->memory_limit = options_.memory_limit;
  info->commands = commands_;
  info->launches = launches_;
  info->allocations = shortage_.allocations();
  std::lock_guard<std::mutex> lock(memory_mutex_);
  info->device_bytes = device_bytes_;
  info->device_bytes_peak = device_bytes_peak_;
  info->host_bytes = host_bytes_;
  info->file_bytes = file_bytes_;
}

void Device::enter() const {
  int current = -1;
  if (cudaGetDevice(&current) == cudaSuccess && current == ordinal_) return;
  ZO2_CUDA_CHECK(cudaSetDevice(ordinal_));
}

void Device::enter_quietly() const noexcept { ZO2_CUDA_QUIET(cudaSetDevice(ordinal_)); }

uint64_t Device::enroll(Stream* stream) {
  std::lock_guard<std::mutex> lock(streams_mutex_);
  if (closed_) fail(ZO2_STATUS_CANCELLED, "the device was closed; open it again");
  streams_.push_back(stream);
  // Odd multiples of a large prime keep the delay sequences of neighbouring seeds and streams apart.
  return options_.delay_seed + ++streams_made_ * 0xD1342543DE82EF95ull;
}

void Device::dismiss(Stream* stream) {
  std::lock_guard<std::mutex> lock(streams_mutex_);
  streams_.erase(std::remove(streams_.begin(), streams_.end(), stream), streams_.end());
}

void Device::count(Stream::Counted counted) {
  commands_.fetch_add(1, std::memory_order_relaxed);
  if (counted == Stream::Counted::kLaunch) launches_.fetch_add(1, std::memory_order_relaxed);
}

void Device::reserve(zo2_buffer_kind kind, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  const bool device = kind == ZO2_BUFFER_DEVICE;
  uint64_t& used = books(kind);
  const bool limited = device && options_.memory_limit != 0;
  const uint64_t limit = limited ? options_.memory_limit : device ? memory_total_ : host_memory_total();
  if (kind != ZO2_BUFFER_FILE && (bytes > limit || used > limit - bytes)) {
    fail(ZO2_STATUS_OUT_OF_MEMORY,
         "%" PRIu64 " bytes of %s memory were asked for, %" PRIu64 " are in use, the limit is %" PRIu64 "; %s", bytes,
         device ? "device" : "host", used, limit,
         limited  ? "raise the limit or plan for less"
         : device ? "that is all the GPU has"
                  : "that is all the machine has");
  }
  used += bytes;
  device_bytes_peak_ = std::max(device_bytes_peak_, device_bytes_);
}

void Device::release(zo2_buffer_kind kind, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  books(kind) -= bytes;
}

uint64_t& Device::books(zo2_buffer_kind kind) {
  return kind == ZO2_BUFFER_DEVICE ? device_bytes_ : kind == ZO2_BUFFER_HOST ? host_bytes_ : file_bytes_;
}

bool Device::forked() const { return getpid() != process_; }

}  // namespace zo2::cuda
