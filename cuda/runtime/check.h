// From cudaError_t to failures with a status and a message. Three kinds of calls, three macros:
//
//   ZO2_CUDA_CHECK(call)             of the API: throws contract::Failure
//   ZO2_CUDA_LAUNCH(command, call)   of a launcher of cuda/ops: throws contract::Failure, named after the command
//   ZO2_CUDA_QUIET(call)             in destructors, and wherever else a failure changes nothing: never throws
//
// Each clears the error that the runtime keeps for cudaGetLastError, so that the next check of a launch does not find
// it.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "contract/status.h"

namespace zo2::cuda {

// "the device failed: unspecified launch failure (cudaErrorLaunchFailure) in cudaEventSynchronize", with what the
// emulator reported where there is one.
std::string describe_failure(cudaError_t status, const char* where);

// OUT_OF_MEMORY for cudaErrorMemoryAllocation, otherwise DEVICE.
zo2_status status_of(cudaError_t status);

// `call` as written in the source; its name ends at the parenthesis.
void check_call(cudaError_t status, const char* call);
void check_launch(cudaError_t status, const char* command);
void ignore(cudaError_t status) noexcept;

}  // namespace zo2::cuda

#define ZO2_CUDA_CHECK(call) ::zo2::cuda::check_call((call), #call)
#define ZO2_CUDA_LAUNCH(command, call) ::zo2::cuda::check_launch((call), command)
#define ZO2_CUDA_QUIET(call) ::zo2::cuda::ignore(call)
