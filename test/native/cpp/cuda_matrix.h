// For tests of single kernels: matrices in device memory with a copy on the host, and what a launcher wants besides its
// operands.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"
#include "numerics/rounding.h"

namespace zo2::test {

inline bool ok(cudaError_t status, const char* what) {
  return CHECK(status == cudaSuccess, "%s: %s", what, cudaGetErrorString(status));
}

inline const char* name_of(zo2_dtype dtype) {
  static const char* const names[] = {"f32", "f16", "bf16", "i32"};
  return names[dtype];
}

// Half a unit in the last place, relative: what one rounding to the dtype may change.
inline double rounding_of(zo2_dtype dtype) { return dtype == ZO2_F16 ? 0x1p-11 : dtype == ZO2_BF16 ? 0x1p-8 : 0x1p-24; }

// The same numbers on every run.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed * 2654435761u + 88172645463325252u) {}

  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-52 - 1.0; }  // [-1, 1)
  int64_t below(int64_t limit) { return static_cast<int64_t>(next() % static_cast<uint64_t>(limit)); }

 private:
  uint64_t state_;
};

// rows x cols elements, `pad` unused ones behind each row but the last, and `lead` before the first. Device memory ends
// with the last element. What is unused holds NaN, and check_unused finds what has been written there. Matrices with
// gaps of gigabytes are copied row by row, and their gaps hold nothing.
class DeviceMatrix {
 public:
  DeviceMatrix(zo2_dtype dtype, int64_t rows, int64_t cols, int64_t pad = 0, int64_t lead = 0)
      : dtype_(dtype), rows_(rows), cols_(cols), stride_(cols + pad), lead_(lead) {
    const int64_t count = lead + (rows > 0 ? (rows - 1) * stride_ + cols : 0);
    bytes_ = static_cast<size_t>(std::max<int64_t>(count, 1)) * size();
    sparse_ = bytes_ > (size_t{64} << 20);
    memory_ok_ = cudaMalloc(&data_, bytes_) == cudaSuccess;
    if (!sparse_) CHECK(memory_ok_, "no device memory for %zu bytes", bytes_);
    host_.assign(sparse_ ? static_cast<size_t>(rows * cols) * size() : bytes_, 0xff);
    before_ = host_;
  }
  ~DeviceMatrix() {
    if (memory_ok_) cudaFree(data_);
  }
  DeviceMatrix(const DeviceMatrix&) = delete;
  DeviceMatrix& operator=(const DeviceMatrix&) = delete;

  bool memory_ok() const { return memory_ok_; }
  zo2_dtype dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  zo2::cuda::Matrix view() const {
    return {static_cast<uint8_t*>(data_) + lead_ * int64_t(size()), dtype_, rows_, cols_, stride_};
  }
  // Columns first .. first + count.
  zo2::cuda::Matrix slice(int64_t first, int64_t count) const {
    return {static_cast<uint8_t*>(data_) + (lead_ + first) * int64_t(size()), dtype_, rows_, count, stride_};
  }

  void set(int64_t row, int64_t col, double value) {
    uint8_t* p = host_.data() + place(row, col);
    if (dtype_ == ZO2_I32) {
      const int32_t integer = static_cast<int32_t>(value);
      memcpy(p, &integer, 4);
    } else if (dtype_ == ZO2_F32) {
      const float wide = static_cast<float>(value);
      memcpy(p, &wide, 4);
    } else {
      const float wide = static_cast<float>(value);
      const uint16_t bits = dtype_ == ZO2_F16 ? numerics::f32_to_f16(wide) : numerics::f32_to_bf16(wide);
      memcpy(p, &bits, 2);
    }
  }

  double get(int64_t row, int64_t col) const { return read(host_, row, col); }
  // As it was at the last upload.
  double before(int64_t row, int64_t col) const { return read(before_, row, col); }

  void randomise(Numbers& numbers, double size = 1, double center = 0) {
    for (int64_t r = 0; r < rows_; r++) {
      for (int64_t c = 0; c < cols_; c++) set(r, c, center + size * numbers.uniform());
    }
  }

  void upload() {
    before_ = host_;
    copy(cudaMemcpyHostToDevice);
  }
  void download() { copy(cudaMemcpyDeviceToHost); }

  void check_unused(const char* what) const {
    if (sparse_) return;
    std::vector<uint8_t> used(host_.size(), 0);
    for (int64_t r = 0; r < rows_; r++)
      std::fill_n(used.begin() + int64_t(place(r, 0)), size_t(cols_) * size(), uint8_t{1});
    for (size_t i = 0; i < host_.size() && rows_ > 0; i++)
      CHECK(used[i] || host_[i] == 0xff, "%s: wrote byte %zu, outside the matrix", what, i);
  }

  bool same_bytes(const DeviceMatrix& other) const { return host_ == other.host_; }

 private:
  size_t size() const { return dtype_ == ZO2_F16 || dtype_ == ZO2_BF16 ? 2 : 4; }
  size_t place(int64_t row, int64_t col) const {
    return static_cast<size_t>(sparse_ ? row * cols_ + col : lead_ + row * stride_ + col) * size();
  }

  double read(const std::vector<uint8_t>& bytes, int64_t row, int64_t col) const {
    const uint8_t* p = bytes.data() + place(row, col);
    if (dtype_ == ZO2_I32) {
      int32_t integer;
      memcpy(&integer, p, 4);
      return integer;
    }
    if (dtype_ == ZO2_F32) {
      float wide;
      memcpy(&wide, p, 4);
      return wide;
    }
    uint16_t bits;
    memcpy(&bits, p, 2);
    return dtype_ == ZO2_F16 ? numerics::f16_to_f32(bits) : numerics::bf16_to_f32(bits);
  }

  void copy(cudaMemcpyKind kind) {
    uint8_t* device = static_cast<uint8_t*>(data_);
    const auto move = [&](uint8_t* there, uint8_t* here, size_t count) {
      ok(kind == cudaMemcpyHostToDevice ? cudaMemcpy(there, here, count, kind) : cudaMemcpy(here, there, count, kind),
         "copy");
    };
    if (!sparse_) return move(device, host_.data(), host_.size());
    for (int64_t r = 0; r < rows_; r++)
      move(device + size_t(lead_ + r * stride_) * size(), host_.data() + place(r, 0), size_t(cols_) * size());
  }

  zo2_dtype dtype_;
  int64_t rows_, cols_, stride_, lead_;
  size_t bytes_;
  bool sparse_, memory_ok_;
  void* data_ = nullptr;
  std::vector<uint8_t> host_, before_;
};

// A stream of its own and everything of zo2::cuda::Launch.
class Launcher {
 public:
  Launcher() {
    traits_ = {90, 132, 227 << 10, false};
    ok(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    ok(cudaMalloc(reinterpret_cast<void**>(&slot_), sizeof(zo2::cuda::FaultSlot)), "slot");
    poison(false);
  }
  ~Launcher() {
    cudaFree(slot_);
    cudaStreamDestroy(stream_);
  }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // As if an earlier kernel of the stream had raised a fault, or none had.
  void poison(bool on) {
    zo2::cuda::FaultSlot slot = {};
    slot.raised = on ? 1 : 0;
    ok(cudaMemcpy(slot_, &slot, sizeof slot, cudaMemcpyHostToDevice), "slot");
  }
  zo2::cuda::Launch launch() const { return {stream_, slot_, nullptr, 0, &traits_}; }
  // Waits for what was launched.
  void finish(cudaError_t launched, const char* what) const {
    ok(launched, what);
    ok(cudaStreamSynchronize(stream_), what);
  }

 private:
  zo2::cuda::Traits traits_;
  cudaStream_t stream_ = nullptr;
  zo2::cuda::FaultSlot* slot_ = nullptr;
};

// Compares what was downloaded with reference(row, col), allowing absolute + relative * |reference| and one rounding to
// the dtype.
template <class Reference>
void check_values(const DeviceMatrix& out, const char* what, double absolute, double relative,
                  const Reference& reference) {
  for (int64_t r = 0; r < out.rows(); r++) {
    for (int64_t c = 0; c < out.cols(); c++) {
      const double expected = reference(r, c), got = out.get(r, c);
      const double bound = absolute + (relative + rounding_of(out.dtype())) * std::fabs(expected) +
                           (out.dtype() == ZO2_F16 ? 0x1p-25 : 0);
      CHECK(std::fabs(got - expected) <= bound, "%s: (%lld, %lld) is %.9g, not %.9g; allowed %.3g", what,
            static_cast<long long>(r), static_cast<long long>(c), got, expected, bound);
    }
  }
  out.check_unused(what);
}

}  // namespace zo2::test
