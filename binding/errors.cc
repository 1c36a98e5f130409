#include "errors.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

namespace zo2::binding {

void fail(const char* code, const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Failure(code, text);
}

const char* code_of(zo2_status status) {
  switch (status) {
    case ZO2_STATUS_INVALID_ARGUMENT:
    case ZO2_STATUS_NOT_RECORDED:
      return code::kInvalidArgument;
    case ZO2_STATUS_OUT_OF_MEMORY:
      return code::kOutOfMemory;
    case ZO2_STATUS_CANCELLED:
      return code::kCancelled;
    case ZO2_STATUS_IO:
      return code::kIo;
    case ZO2_OK:
    case ZO2_STATUS_UNSUPPORTED:
    case ZO2_STATUS_DEVICE:
      break;
  }
  return code::kDevice;
}

Failure failure_of(const zo2_error& error, const char* where) {
  std::string message(error.message, strnlen(error.message, sizeof error.message));
  return Failure(code_of(error.status),
                 where == nullptr || *where == '\0' ? message : std::string(where) + ": " + message);
}

void check(zo2_status status, const zo2_error& error, const char* where) {
  if (status == ZO2_OK) return;
  zo2_error reported = error;
  reported.status = status;
  throw failure_of(reported, where);
}

Napi::Error to_js(Napi::Env env, const Failure& failure) {
  Napi::Error error = std::strcmp(failure.code(), code::kHandle) == 0
                          ? Napi::Error(Napi::TypeError::New(env, failure.what()))
                          : Napi::Error::New(env, failure.what());
  error.Set("code", Napi::String::New(env, failure.code()));
  return error;
}

Failure current_failure(const char* where) {
  const std::string place(where);
  try {
    throw;
  } catch (const Failure& failure) {
    return failure;
  } catch (const std::bad_alloc&) {
    return Failure(code::kOutOfMemory,
                   place + ": the host has no memory left for the call itself; close other programs");
  } catch (const std::exception& error) {
    return Failure(code::kDevice, place + ": " + error.what());
  } catch (...) {
    return Failure(code::kDevice, place + ": an exception of an unknown type");
  }
}

}  // namespace zo2::binding
