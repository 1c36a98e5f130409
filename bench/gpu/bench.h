// What the GPU benches share: a device with a stream, memory with random contents, times by CUDA events, ceilings, and
// results as one line of JSON each. A bench that cannot go on says why and exits with status 1.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/kernel_list.h"
#include "cuda/launch.h"

namespace zo2::bench {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
  exit(1);
}

// ZO2_BENCH_TINY=1: sizes that only show that the programs run.
inline bool tiny() {
  const char* const set = getenv("ZO2_BENCH_TINY");
  return set != nullptr && strcmp(set, "1") == 0;
}

// Device memory.
class Memory {
 public:
  explicit Memory(uint64_t bytes) : bytes_(bytes) {
    check(cudaMalloc(&data_, std::max<uint64_t>(bytes, 1)), "cudaMalloc");
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t bytes() const { return bytes_; }

  void put(const void* from, uint64_t bytes) {
    check(cudaMemcpy(data_, from, bytes, cudaMemcpyHostToDevice), "upload");
    // The stream of the benches does not wait for the default one, which may still be at it.
    check(cudaStreamSynchronize(cudaStreamLegacy), "upload");
  }

  // The pattern over and over. Zeros would let the device run cooler and faster than real weights do.
  template <class T>
  void fill(const std::vector<T>& pattern) {
    uint64_t done = std::min<uint64_t>(pattern.size() * sizeof(T), bytes_);
    put(pattern.data(), done);
    while (done < bytes_) {
      const uint64_t more = std::min(done, bytes_ - done);
      check(cudaMemcpy(static_cast<char*>(data_) + done, data_, more, cudaMemcpyDeviceToDevice), "fill");
      done += more;
    }
  }

 private:
  void* data_ = nullptr;
  uint64_t bytes_;
};

// Normal-looking numbers of this spread (a sum of uniforms), the same on every run.
inline std::vector<float> random_values(size_t count, float spread) {
  uint64_t state = 88172645463325252u;
  std::vector<float> values(count);
  for (float& value : values) {
    float sum = -6.0f;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(static_cast<double>(state >> 11) * 0x1p-53);
    }
    value = sum * spread;
  }
  return values;
}

// The first device, with a stream and all that launchers want.
class Device {
 public:
  Device() : slot_(sizeof(cuda::FaultSlot)) {
    cuda::load_kernels();
    check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check(cudaHostAlloc(&mirror_, sizeof(cuda::FaultSlot), cudaHostAllocDefault), "cudaHostAlloc");
    check(cudaMemset(slot_.as<void>(), 0, sizeof(cuda::FaultSlot)), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    traits_ = {properties.major * 10 + properties.minor, properties.multiProcessorCount,
               static_cast<int>(properties.sharedMemPerBlockOptin), false,
               static_cast<int>(properties.sharedMemPerMultiprocessor)};
  }
  ~Device() {
    cudaStreamDestroy(stream);
    cudaFreeHost(mirror_);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  cuda::Launch launch() {
    return {stream, slot_.as<cuda::FaultSlot>(), static_cast<cuda::FaultSlot*>(mirror_), 1, &traits_};
  }

  int capability() const { return traits_.capability; }

  // FLOP/s of dense 16-bit tensor-core products with fp32 sums at the highest clock: multiprocessors x clock x products
  // of one multiprocessor in a clock, by the vendor's architecture papers. NaN where we do not know.
  double matrix_rate() const {
    int kilohertz = 0;
    if (cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, 0) != cudaSuccess || kilohertz <= 0) return NAN;
    double flops = NAN;
    switch (traits_.capability) {
      case 80:
        flops = 2048;
        break;
      case 86:
      case 89:
      case 120:
        flops = 1024;
        break;
      case 90:
        flops = 4096;
        break;
      case 100:
        flops = 8192;
        break;
    }
    return flops * traits_.multiprocessors * kilohertz * 1e3;
  }

  // Median seconds of `work`, which enqueues on `stream`, over `repeats` runs after two that do not count.
  template <class Work>
  double seconds(int repeats, Work&& work) {
    const int warmup = tiny() ? 0 : 2;
    if (tiny()) repeats = 1;
    std::vector<cudaEvent_t> events(static_cast<size_t>(repeats) + 1);
    for (cudaEvent_t& event : events) check(cudaEventCreate(&event), "cudaEventCreate");
    for (int i = 0; i < warmup; ++i) work();
    check(cudaEventRecord(events[0], stream), "cudaEventRecord");
    for (int i = 0; i < repeats; ++i) {
      work();
      check(cudaEventRecord(events[static_cast<size_t>(i) + 1], stream), "cudaEventRecord");
    }
    check(cudaStreamSynchronize(stream), "the work that is timed");
    std::vector<double> times;
    for (size_t i = 1; i < events.size(); ++i) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, events[i - 1], events[i]), "cudaEventElapsedTime");
      times.push_back(milliseconds * 1e-3);
    }
    for (cudaEvent_t event : events) cudaEventDestroy(event);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  // Bytes/s, read and written, of a copy within device memory that is much larger than the caches.
  double copy_rate() {
    if (copy_rate_ == 0) {
      const uint64_t bytes = tiny() ? 1 << 16 : uint64_t{1} << 30;
      Memory from(bytes), to(bytes);
      from.fill(random_values(1 << 14, 1.0f));
      const auto copy = [&] {
        check(cudaMemcpyAsync(to.as<void>(), from.as<void>(), bytes, cudaMemcpyDeviceToDevice, stream), "copy");
      };
      const double taken = seconds(10, copy);
      copy_rate_ = 2.0 * static_cast<double>(bytes) / taken;
    }
    return copy_rate_;
  }

  cudaDeviceProp properties{};
  cudaStream_t stream = nullptr;

 private:
  Memory slot_;
  void* mirror_ = nullptr;
  cuda::Traits traits_{};
  double copy_rate_ = 0;
};

// One result: a JSON object on a line of standard output.
class Line {
 public:
  Line& text(const char* name, const std::string& value) { return add(name, "\"" + value + "\""); }
  Line& number(const char* name, double value) {
    char digits[40];
    snprintf(digits, sizeof digits, "%.9g", value);
    // JSON has no NaN: what is not known is null.
    return add(name, std::isfinite(value) ? digits : "null");
  }
  // What the bench is about: measured seconds, the least that bytes and operations allow at these ceilings, and the
  // rates that come of it.
  Line& figures(double seconds, double bytes, double byte_rate, double flops, double flop_rate) {
    const double by_bytes = bytes / byte_rate;
    const double by_flops = flops > 0 ? flops / flop_rate : 0;
    number("seconds", seconds)
        .number("bytes", bytes)
        .number("predictedSeconds", std::isnan(by_flops) ? NAN : std::max(by_bytes, by_flops));
    text("limit", std::isnan(by_flops) ? "unknown" : by_flops > by_bytes ? "arithmetic" : "memory");
    number("bytesPerSecond", bytes / seconds).number("bytesPerSecondCeiling", byte_rate);
    if (flops > 0)
      number("flops", flops).number("flopsPerSecond", flops / seconds).number("flopsPerSecondCeiling", flop_rate);
    return *this;
  }
  void print() const {
    printf("{%s}\n", fields_.c_str());
    fflush(stdout);
  }

 private:
  Line& add(const char* name, const std::string& value) {
    fields_ += (fields_.empty() ? "\"" : ",\"") + std::string(name) + "\":" + value;
    return *this;
  }

  std::string fields_;
};

}  // namespace zo2::bench
