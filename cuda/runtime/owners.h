// Move-only owners of what the CUDA runtime hands out. Their destructors never throw; the current device of the calling
// thread must be that of the constructor (Device::enter).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <utility>

namespace zo2::cuda {

// Which handle a moved-from owner holds none of.
template <typename Handle, void (*release)(Handle)>
class Owner {
 public:
  Owner() = default;
  explicit Owner(Handle handle) : handle_(handle) {}
  Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner& operator=(Owner&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owner() {
    if (handle_ != nullptr) release(handle_);
  }

  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
};

void release_stream(cudaStream_t stream);
void release_event(cudaEvent_t event);

// A stream that does not follow the default stream. Destroying it does not wait for what is queued on it.
using CudaStream = Owner<cudaStream_t, release_stream>;
CudaStream make_cuda_stream();

// An event with a time, on which a host thread sleeps while it waits.
using CudaEvent = Owner<cudaEvent_t, release_event>;
CudaEvent make_cuda_event();

// Device memory of one cudaMalloc, aligned to 256 bytes; its bytes are whatever was there.
class DeviceArena {
 public:
  DeviceArena() = default;
  // At least one byte is allocated, so that data() names a place. Throws Failure(OUT_OF_MEMORY) with what was asked for
  // and what is free.
  explicit DeviceArena(uint64_t bytes);
  DeviceArena(DeviceArena&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceArena& operator=(DeviceArena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceArena();

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  // The first `bytes` become those at `from`, in memory of any kind. They are there for every stream when it returns: a
  // plain cudaMemcpy from pageable memory may return before, and our streams do not wait for the default one.
  void upload(const void* from, uint64_t bytes);

 private:
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace zo2::cuda
