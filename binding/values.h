#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

namespace zo2::binding {

// Arguments from JavaScript, checked; each throws ZO2_ERR_INVALID_ARGUMENT. `name` is the argument's, after the call's:
// "Buffer.read: offset".

// An integer of 0 .. `largest` (at most 2^53 - 1).
uint64_t integer_argument(const Napi::Value& value, const char* name, uint64_t largest);
std::string string_argument(const Napi::Value& value, const char* name);
// Not empty, and without a zero in it.
std::string path_argument(const Napi::Value& value, const char* name);

// Memory of a typed array, valid while JavaScript does not run.
struct Doubles {
  const double* data;
  size_t count;
};
Doubles doubles_argument(const Napi::Value& value, const char* name);
struct Bytes {
  unsigned char* data;
  size_t count;
};
Bytes bytes_argument(const Napi::Value& value, const char* name);

// Fields of an options object: absent ones have a default.
uint64_t integer_option(const Napi::Object& options, const char* field, const char* name, uint64_t largest,
                        uint64_t absent);
bool flag_option(const Napi::Object& options, const char* field, const char* name);

}  // namespace zo2::binding
