#pragma once

#include <napi.h>

#include <exception>
#include <string>
#include <utility>

#include "contract/zo2.h"

#ifndef NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#error "binding/ needs NODE_ADDON_API_CPP_EXCEPTIONS_ALL: else a C++ exception leaves a callback and ends the process"
#endif

namespace zo2::binding {

// The codes of src/base/errors.ts that native code raises.
namespace code {
inline constexpr const char* kInvalidArgument = "ZO2_ERR_INVALID_ARGUMENT";
inline constexpr const char* kHandle = "ZO2_ERR_HANDLE";
inline constexpr const char* kDisposed = "ZO2_ERR_DISPOSED";
inline constexpr const char* kOutOfMemory = "ZO2_ERR_OUT_OF_MEMORY";
inline constexpr const char* kDevice = "ZO2_ERR_DEVICE";
inline constexpr const char* kCancelled = "ZO2_ERR_CANCELLED";
inline constexpr const char* kIo = "ZO2_ERR_IO";
}  // namespace code

// An error on its way to JavaScript; free of Node-API, so that any thread may make one. Copies share nothing, as they
// cross threads.
class Failure : public std::exception {
 public:
  Failure(const char* code, std::string message) : code_(code), message_(std::move(message)) {}
  const char* code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  const char* code_;
  std::string message_;
};

[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(const char* code, const char* format, ...);

// What a status of the contract is called in JavaScript.
const char* code_of(zo2_status status);

// `where` is the call or command that failed; it becomes the start of the message.
Failure failure_of(const zo2_error& error, const char* where);

// Throws unless `status` is ZO2_OK.
void check(zo2_status status, const zo2_error& error, const char* where);

// A JavaScript Error (TypeError for a wrong handle) with `code`.
Napi::Error to_js(Napi::Env env, const Failure& failure);

// The exception in flight, as a Failure; only inside a catch block.
Failure current_failure(const char* where);

}  // namespace zo2::binding
