#include "values.h"

#include <cinttypes>
#include <cmath>

#include "errors.h"

namespace zo2::binding {

uint64_t integer_argument(const Napi::Value& value, const char* name, uint64_t largest) {
  if (!value.IsNumber()) fail(code::kInvalidArgument, "%s must be a number", name);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= static_cast<double>(largest)) || number != std::floor(number)) {
    fail(code::kInvalidArgument, "%s is %.17g; it must be an integer of 0 .. %" PRIu64, name, number, largest);
  }
  return static_cast<uint64_t>(number);
}

std::string string_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) fail(code::kInvalidArgument, "%s must be a string", name);
  return value.As<Napi::String>().Utf8Value();
}

std::string path_argument(const Napi::Value& value, const char* name) {
  std::string path = string_argument(value, name);
  if (path.empty() || path.find('\0') != std::string::npos)
    fail(code::kInvalidArgument, "%s is empty or has a zero in it; name a file or a folder", name);
  return path;
}

Doubles doubles_argument(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    fail(code::kInvalidArgument, "%s must be a Float64Array", name);
  }
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.ElementLength()};
}

Bytes bytes_argument(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    fail(code::kInvalidArgument, "%s must be a Uint8Array", name);
  }
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

uint64_t integer_option(const Napi::Object& options, const char* field, const char* name, uint64_t largest,
                        uint64_t absent) {
  const Napi::Value value = options.Get(field);
  return value.IsUndefined() ? absent : integer_argument(value, name, largest);
}

bool flag_option(const Napi::Object& options, const char* field, const char* name) {
  const Napi::Value value = options.Get(field);
  if (value.IsUndefined()) return false;
  if (!value.IsBoolean()) fail(code::kInvalidArgument, "%s must be true or false", name);
  return value.As<Napi::Boolean>().Value();
}

}  // namespace zo2::binding
