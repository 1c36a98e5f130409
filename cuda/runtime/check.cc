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

// Failures after which every call of the process fails, whatever it resets: CUDA's own words on each of them are that
// the process must be terminated and relaunched (cudaError in the reference of the runtime API).
bool ends_the_process(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string describe_failure(cudaError_t status, const char* where) {
  return std::string("the device failed: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ") in " +
         where + report() + (ends_the_process(status) ? "; end this process, and open the device in a new one" : "");
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
