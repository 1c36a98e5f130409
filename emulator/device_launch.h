// ZO2_LAUNCH under the emulator. Included by device.h alone.
#pragma once

#include <tuple>
#include <utility>

namespace zo2::emu {

// A kernel with its arguments, without their types.
struct Call {
  void (*invoke)(void* self);
  void (*destroy)(void* self);
  void* self;
  size_t size;
};

// Takes `call` over, whatever it returns.
cudaError_t enqueue_launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
                           cudaStream_t stream, Call call);

template <class... Parameters>
struct BoundKernel {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;

  static void invoke(void* self) {
    const BoundKernel& bound = *static_cast<BoundKernel*>(self);
    std::apply(bound.kernel, bound.arguments);
  }
  static void destroy(void* self) { delete static_cast<BoundKernel*>(self); }
};

template <class... Parameters, class... Arguments>
cudaError_t launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, Arguments&&... arguments) {
  using Bound = BoundKernel<Parameters...>;
  auto* bound = new Bound{kernel, std::tuple<std::decay_t<Parameters>...>(std::forward<Arguments>(arguments)...)};
  return enqueue_launch(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
                        {&Bound::invoke, &Bound::destroy, bound, sizeof(Bound)});
}

}  // namespace zo2::emu
