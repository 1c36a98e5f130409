#include "cuda/runtime/buffer.h"

#include "cuda/runtime/check.h"
#include "cuda/runtime/device.h"

namespace zo2::cuda {

Buffer::Buffer(std::shared_ptr<Device> device, zo2_buffer_kind kind, uint64_t bytes)
    : contract::Memory{device.get(), kind, bytes, nullptr}, device_(std::move(device)) {
  device_->reserve(kind, bytes);
  try {
    device_->enter();
    if (kind == ZO2_BUFFER_HOST) {
      on_host_ = PinnedArena(bytes);
      data = on_host_.data();
      return;
    }
    on_device_ = DeviceArena(bytes);
    data = on_device_.data();
    if (device_->delay_microseconds() == 0) return;
    ZO2_CUDA_CHECK(cudaMemset(data, 0xFF, bytes));
    // cudaMemset may return before it is done, and our streams do not follow the default stream.
    ZO2_CUDA_CHECK(cudaStreamSynchronize(nullptr));
  } catch (...) {
    device_->release(kind, bytes);
    throw;
  }
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
  device_->enter_quietly();
  device_->release(kind, booked());
}

}  // namespace zo2::cuda
