// Failures inside a backend: thrown as Failure, turned into a status and a message at the border by `guarded`.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "contract/zo2.h"

namespace zo2::contract {

// What a call or a command could not do. `what()` says what was wrong, where, and what to do; numbers first.
struct Failure : std::runtime_error {
  Failure(zo2_status status, const std::string& message) : std::runtime_error(message), status(status) {}
  zo2_status status;
};

// Throws a Failure with a printf-style message.
[[noreturn]] void fail(zo2_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Fills `error`; a message that is too long is cut between two UTF-8 characters.
void write_error(zo2_error* error, zo2_status status, const char* message) noexcept;

// Fills `error` from the exception being handled, of whatever type. Only inside a catch block.
void write_current_exception(zo2_error* error) noexcept;

// The border of every table function: runs `body`, and turns anything it throws into a status and a message.
template <typename Body>
zo2_status guarded(zo2_error* error, Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    write_error(error, ZO2_OK, "");
  } catch (...) {
    write_current_exception(error);
  }
  return error->status;
}

}  // namespace zo2::contract
