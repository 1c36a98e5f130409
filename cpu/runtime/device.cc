#include "cpu/runtime/device.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "contract/host.h"
#include "contract/status.h"
#include "cpu/ops/matmul.h"
#include "cpu/runtime/cpu_features.h"
#include "cpu/runtime/thread.h"

namespace zo2::cpu {
namespace {

constexpr uint32_t kMostThreads = 1024;

const zo2_device_options& checked(const zo2_device_options& options) {
  if (options.ordinal != 0) {
    contract::fail(ZO2_STATUS_DEVICE, "cpu:%" PRId32 " does not exist: the processor is one device, with ordinal 0",
                   options.ordinal);
  }
  if (options.threads > kMostThreads) {
    contract::fail(ZO2_STATUS_INVALID_ARGUMENT,
                   "%" PRIu32 " threads were asked for, at most %" PRIu32 " are allowed; 0 takes one per core",
                   options.threads, kMostThreads);
  }
  return options;
}

template <size_t size>
void put(char (&field)[size], const std::string& text) {
  std::snprintf(field, size, "%s", text.c_str());
}

// The end of a path that is too long says more than its beginning.
template <size_t size>
void put_end(char (&field)[size], const std::string& text) {
  put(field, text.size() < size ? text : "..." + text.substr(text.size() - (size - 4)));
}

}  // namespace

Device::Device(const zo2_device_options& options)
    : options_(checked(options)),
      vectorised_(options.generic_kernels == 0 && has_avx2_fma_f16c()),
      process_(getpid()),
      memory_total_(contract::host().memory_total),
      pool_(options.threads == 0 ? std::min(contract::host().cores, kMostThreads) : options.threads),
      files_(options.no_io_uring != 0, start_thread) {}

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
  notifier_.close();
}

void Device::describe(zo2_device_info* info) {
  *info = {};
  put(info->kind, "cpu");
  put(info->name, contract::processor_name());
  put(info->features,
      std::string(vectorised_ ? "avx2 fma f16c" : "generic") + "; " + matmul_library() + "; files: " + files_.name());
  const contract::Host host = contract::host();
  info->threads = pool_.size();
  if (options_.threads == 0) put_end(info->threads_limited_by, host.cores_by);
  put_end(info->memory_limited_by, host.memory_by);
  info->memory_total = host.memory_total;
  info->memory_free = host.memory_free;
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

double Device::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - opened_).count();
}

uint64_t Device::enroll(Stream* stream) {
  std::lock_guard<std::mutex> lock(streams_mutex_);
  if (closed_) contract::fail(ZO2_STATUS_CANCELLED, "the device was closed; open it again");
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
  uint64_t& used = books(kind);
  // Without a limit of its own, either kind is bounded by what the host has: the kernel would grant more, and kill the
  // process later.
  const bool limited = kind == ZO2_BUFFER_DEVICE && options_.memory_limit != 0;
  const uint64_t limit = limited ? options_.memory_limit : memory_total_;
  if (kind != ZO2_BUFFER_FILE && (bytes > limit || used > limit - bytes)) {
    contract::fail(ZO2_STATUS_OUT_OF_MEMORY,
                   "%" PRIu64 " bytes of %s memory were asked for, %" PRIu64 " are in use, the limit is %" PRIu64
                   "; %s",
                   bytes, kind == ZO2_BUFFER_DEVICE ? "device" : "host", used, limit,
                   limited ? "raise the limit or plan for less" : "that is all the machine has");
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

}  // namespace zo2::cpu
