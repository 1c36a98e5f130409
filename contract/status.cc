#include "contract/status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

namespace zo2::contract {

void fail(zo2_status status, const char* format, ...) {
  char message[sizeof(zo2_error::message)];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  throw Failure(status, message);
}

void write_error(zo2_error* error, zo2_status status, const char* message) noexcept {
  error->status = status;
  size_t length = strnlen(message, sizeof error->message);
  if (length == sizeof error->message) {
    length = sizeof error->message - 1;
    const auto continues = [&](size_t at) { return (static_cast<unsigned char>(message[at]) & 0xC0) == 0x80; };
    while (length > 0 && continues(length)) --length;
  }
  std::memcpy(error->message, message, length);
  error->message[length] = '\0';
}

void write_current_exception(zo2_error* error) noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    write_error(error, failure.status, failure.what());
  } catch (const std::bad_alloc&) {
    write_error(error, ZO2_STATUS_OUT_OF_MEMORY,
                "the host has no memory left for the backend's own books; free some and try again");
  } catch (const std::system_error& failure) {
    write_error(error, ZO2_STATUS_DEVICE, failure.what());
  } catch (const std::exception& failure) {
    write_error(error, ZO2_STATUS_DEVICE, failure.what());
  } catch (...) {
    write_error(error, ZO2_STATUS_DEVICE, "the backend met an unknown exception");
  }
}

}  // namespace zo2::contract
