// Every kernel of the program. CUDA loads a kernel when it is first launched or asked about, and loading may wait for
// the device to be idle: a first launch behind a stream that waits for the launching thread would never return.
#pragma once

#include <cuda_runtime_api.h>

namespace zo2::cuda {

// One for each kernel that some ZO2_LAUNCH names, made before main.
struct ListedKernel {
  explicit ListedKernel(const void* kernel);

  const void* const function;
  const ListedKernel* const next;
};

template <auto kernel>
struct Listed {
  static decltype(kernel) address() {
    static_cast<void>(&entry);
    return kernel;
  }

 private:
  static const ListedKernel entry;
};

template <auto kernel>
const ListedKernel Listed<kernel>::entry(reinterpret_cast<const void*>(kernel));

// Loads all of them on the current device, and those alone that it can run. Never throws: what is wrong with a kernel
// its launch says.
void load_kernels() noexcept;

}  // namespace zo2::cuda
