// Errors of the emulated runtime API.
#include <cstdarg>
#include <cstdio>

#include "emulator/cudart.h"
#include "emulator/internal.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Word {
  cudaError_t code;
  const char* name;
  const char* text;
};

#define ZO2_EMU_WORD(code, text) {code, #code, text}
constexpr Word kWords[] = {
    ZO2_EMU_WORD(cudaSuccess, "no error"),
    ZO2_EMU_WORD(cudaErrorInvalidValue, "invalid argument"),
    ZO2_EMU_WORD(cudaErrorMemoryAllocation, "out of memory"),
    ZO2_EMU_WORD(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ZO2_EMU_WORD(cudaErrorInvalidDevice, "invalid device ordinal"),
    ZO2_EMU_WORD(cudaErrorInvalidDeviceFunction, "invalid device function"),
    ZO2_EMU_WORD(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ZO2_EMU_WORD(cudaErrorNotReady, "device not ready"),
    ZO2_EMU_WORD(cudaErrorLaunchFailure, "unspecified launch failure"),
    ZO2_EMU_WORD(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
    ZO2_EMU_WORD(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    ZO2_EMU_WORD(cudaErrorNotSupported, "operation not supported"),
    ZO2_EMU_WORD(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    ZO2_EMU_WORD(cudaErrorNoDevice, "no CUDA-capable device is detected"),
};
#undef ZO2_EMU_WORD

const Word* find(cudaError_t code) {
  for (const Word& word : kWords) {
    if (word.code == code) return &word;
  }
  return nullptr;
}

}  // namespace

cudaError_t give(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

void report_call(const char* function, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const bool failed_before = take_failure();
  report("call", Where(nullptr, 0), "%s: %s", function, text);
  if (!failed_before) static_cast<void>(take_failure());
}

}  // namespace zo2::emu

using namespace zo2::emu;

extern "C" {

cudaError_t cudaGetLastError() {
  const std::lock_guard hold(runtime_lock());
  const cudaError_t failed = device_status();
  const cudaError_t last = last_error;
  last_error = cudaSuccess;
  return failed != cudaSuccess ? failed : last;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard hold(runtime_lock());
  const cudaError_t failed = device_status();
  return failed != cudaSuccess ? failed : last_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  const Word* word = find(error);
  return word != nullptr ? word->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const Word* word = find(error);
  return word != nullptr ? word->text : "unrecognized error code";
}

}  // extern "C"
