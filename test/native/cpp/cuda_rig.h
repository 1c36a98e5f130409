// What tests of single kernels share: memory between sentinels, and a stream with what every launcher is given. The
// kernels run on the GPU, or in the emulator where that is what the test was built with.
#pragma once

#include <cuda_runtime_api.h>
#include <string.h>

#include <vector>

#include "cuda/kernel_list.h"
#include "cuda/launch.h"
#include "test/native/cpp/check.h"

namespace zo2::test {

inline void must(cudaError_t status, const char* what) {
  CHECK(status == cudaSuccess, "%s: %s", what, cudaGetErrorString(status));
}
#define MUST(call) ::zo2::test::must((call), #call)

// cudaMemcpy from pageable memory may return before the bytes are there, and the rig's stream does not wait for them.
inline void copy_and_wait(void* to, const void* from, size_t bytes) {
  MUST(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  MUST(cudaStreamSynchronize(cudaStreamLegacy));
}

// Device or pinned memory of `bytes` bytes, `offset` bytes behind a 256-byte boundary, with sentinels before and after
// it.
class Guarded {
 public:
  enum class Kind { kDevice, kPinned };

  explicit Guarded(uint64_t bytes, uint64_t offset = 0, Kind kind = Kind::kDevice)
      : bytes_(bytes), offset_(kGuard + offset), kind_(kind) {
    const std::vector<unsigned char> all(whole(), kSentinel);
    if (kind_ == Kind::kDevice) {
      MUST(cudaMalloc(&memory_, whole()));
    } else {
      MUST(cudaHostAlloc(&memory_, whole(), cudaHostAllocDefault));
    }
    copy_and_wait(memory_, all.data(), whole());
  }
  template <class T>
  explicit Guarded(const std::vector<T>& values, uint64_t offset = 0, Kind kind = Kind::kDevice)
      : Guarded(values.size() * sizeof(T), offset, kind) {
    put(values.data());
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    if (kind_ == Kind::kDevice) {
      MUST(cudaFree(memory_));
    } else {
      MUST(cudaFreeHost(memory_));
    }
  }

  template <class T = unsigned char>
  T* at() const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(memory_) + offset_);
  }
  void put(const void* from) {
    if (bytes_ != 0) copy_and_wait(at(), from, bytes_);
  }
  template <class T = unsigned char>
  std::vector<T> get() const {
    std::vector<T> values(bytes_ / sizeof(T));
    if (bytes_ != 0) MUST(cudaMemcpy(values.data(), at(), bytes_, cudaMemcpyDefault));
    return values;
  }
  bool intact() const {
    std::vector<unsigned char> all(whole());
    MUST(cudaMemcpy(all.data(), memory_, whole(), cudaMemcpyDefault));
    for (uint64_t i = 0; i < whole(); ++i) {
      if ((i < offset_ || i >= offset_ + bytes_) && all[i] != kSentinel) return false;
    }
    return true;
  }

 private:
  static constexpr uint64_t kGuard = 256;
  static constexpr unsigned char kSentinel = 0xA5;
  uint64_t whole() const { return offset_ + bytes_ + kGuard; }

  void* memory_ = nullptr;
  uint64_t bytes_;
  uint64_t offset_;
  Kind kind_;
};

// A stream and its fault slot, as the runtime makes them.
class CudaRig {
 public:
  CudaRig() {
    cuda::load_kernels();
    MUST(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    MUST(cudaMalloc(reinterpret_cast<void**>(&slot_), sizeof(cuda::FaultSlot)));
    MUST(cudaHostAlloc(reinterpret_cast<void**>(&mirror_), sizeof(cuda::FaultSlot), cudaHostAllocDefault));
    clear();
  }
  ~CudaRig() {
    MUST(cudaStreamDestroy(stream_));
    MUST(cudaFree(slot_));
    MUST(cudaFreeHost(mirror_));
  }
  CudaRig(const CudaRig&) = delete;
  CudaRig& operator=(const CudaRig&) = delete;

  cuda::Launch launch() { return {stream_, slot_, mirror_, kCommand, &traits_}; }
  void finish() { MUST(cudaStreamSynchronize(stream_)); }
  // As if an earlier kernel of the stream had raised a fault.
  void poison() {
    const uint32_t raised = 1;
    copy_and_wait(&slot_->raised, &raised, sizeof raised);
  }
  // Forgets a fault.
  void clear() {
    MUST(cudaMemset(slot_, 0, sizeof *slot_));
    MUST(cudaDeviceSynchronize());
    memset(mirror_, 0, sizeof *mirror_);
  }
  // The raised fault, the same in slot and mirror; kNone when there is none.
  contract::Fault fault() {
    finish();
    cuda::FaultSlot held;
    MUST(cudaMemcpy(&held, slot_, sizeof held, cudaMemcpyDefault));
    CHECK(memcmp(&held, mirror_, sizeof held) == 0, "the mirror is not a copy of the slot");
    CHECK(held.raised == 0 || held.command == kCommand, "the fault names another command");
    return held.fault;
  }

 private:
  static constexpr uint64_t kCommand = 41;
  const cuda::Traits traits_ = {80, 1, 96 << 10, false};
  cudaStream_t stream_ = nullptr;
  cuda::FaultSlot* slot_ = nullptr;
  cuda::FaultSlot* mirror_ = nullptr;
};

}  // namespace zo2::test
