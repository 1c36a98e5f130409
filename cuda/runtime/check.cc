#include "cuda/runtime/check.h"

#include "cuda/runtime/build.h"

namespace zo2::cuda {
namespace {

// What went wrong inside the emulated device, in parentheses; empty on a real one.
std::string report() {
#if ZO2_EMULATED
  const char* const text = zo2_emu_last_report();
  if (text != nullptr && text[0] != '\0') return std::string(" (") + text + ")";
#endif
  return {};
}

}  // namespace

std::string describe_failure(cudaError_t status, const char* where) {
  return std::string("the device failed: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ") in " +
         where + report();
}

zo2_status status_of(cudaError_t status) {
  return status == cudaErrorMemoryAllocation ? ZO2_STATUS_OUT_OF_MEMORY : ZO2_STATUS_DEVICE;
}

void check_call(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  ignore(status);
  const std::string text(call);
  throw contract::Failure(status_of(status), describe_failure(status, text.substr(0, text.find('(')).c_str()));
}

void check_launch(cudaError_t status, const char* command) {
  if (status == cudaSuccess) return;
  ignore(status);
  throw contract::Failure(ZO2_STATUS_DEVICE,
                          describe_failure(status, (std::string("the launch of ") + command).c_str()));
}

void ignore(cudaError_t status) noexcept {
  if (status != cudaSuccess) cudaGetLastError();
}

}  // namespace zo2::cuda
