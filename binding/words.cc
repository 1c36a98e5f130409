#include "words.h"

#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "errors.h"

namespace zo2::binding {

void WordReader::reject(const char* code, const char* meaning, const char* format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fail(code, "%s, word %zu (%s): %s", place_.c_str(), next_ - 1, meaning, text);
}

double WordReader::word(const char* meaning) {
  if (next_ == end_) {
    fail(code::kInvalidArgument, "%s ends at word %zu, before its \"%s\"; give its full list of words", place_.c_str(),
         next_, meaning);
  }
  return words_[next_++];
}

uint64_t WordReader::integer(const char* meaning, uint64_t largest) {
  const double value = word(meaning);
  if (!(value >= 0 && value <= static_cast<double>(largest)) || value != std::floor(value)) {
    reject(code::kInvalidArgument, meaning, "%.17g is not an integer of 0 .. %" PRIu64, value, largest);
  }
  return static_cast<uint64_t>(value);
}

int64_t WordReader::signed_integer(const char* meaning) {
  const double value = word(meaning);
  const double largest = static_cast<double>(kMaxInteger);
  if (!(value >= -largest && value <= largest) || value != std::floor(value)) {
    reject(code::kInvalidArgument, meaning, "%.17g is not an integer of -2^53 .. 2^53", value);
  }
  return static_cast<int64_t>(value);
}

double WordReader::finite(const char* meaning) {
  const double value = word(meaning);
  if (!std::isfinite(value)) reject(code::kInvalidArgument, meaning, "%g is not a finite number", value);
  return value;
}

float WordReader::finite_float(const char* meaning) {
  const double value = finite(meaning);
  if (std::fabs(value) > std::numeric_limits<float>::max()) {
    reject(code::kInvalidArgument, meaning, "%g is too large for a 32-bit float", value);
  }
  return static_cast<float>(value);
}

uint64_t WordReader::seed(const char* meaning) {
  const uint64_t low = integer(meaning, UINT32_MAX);
  const uint64_t high = integer(meaning, UINT32_MAX);
  return high << 32 | low;
}

const Resource* WordReader::resource(Kind kind, const char* meaning) {
  const double value = word(meaning);
  if (!(value >= 0 && value < static_cast<double>(handles_.size())) || value != std::floor(value)) {
    reject(code::kInvalidArgument, meaning, "%.17g is not an index into the %zu handles", value, handles_.size());
  }
  const Resource* found = handles_[static_cast<size_t>(value)].get();
  if (found->kind != kind) {
    reject(code::kHandle, meaning, "handle %zu is a %s where a %s is needed", static_cast<size_t>(value),
           kind_info(found->kind).name, kind_info(kind).name);
  }
  return found;
}

zo2_span WordReader::span(const char* meaning) {
  const Resource* buffer = resource(Kind::kBuffer, meaning);
  const uint64_t offset = integer(meaning);
  if (offset > buffer->bytes) {
    reject(code::kInvalidArgument, meaning, "the offset %" PRIu64 " is past the end of a buffer of %" PRIu64 " bytes",
           offset, buffer->bytes);
  }
  return {buffer->as<zo2_buffer>(), offset};
}

uint32_t WordReader::optional_integer32(const char* meaning, uint32_t none) {
  if (next_ == end_ || words_[next_] != -1) return integer32(meaning);
  ++next_;
  return none;
}

zo2_span WordReader::optional_span(const char* meaning) {
  if (next_ < end_ && words_[next_] == -1) {
    ++next_;
    if (const uint64_t offset = integer(meaning); offset != 0) {
      reject(code::kInvalidArgument, meaning, "the offset %" PRIu64 " of a span without a buffer; it must be 0",
             offset);
    }
    return {nullptr, 0};
  }
  return span(meaning);
}

void WordReader::reaches(const zo2_span& span, uint64_t bytes, const char* meaning) {
  for (const auto& handle : handles_) {
    if (handle->kind != Kind::kBuffer || handle->as<zo2_buffer>() != span.buffer) continue;
    if (bytes > handle->bytes - span.offset) {
      reject(code::kInvalidArgument, meaning,
             "%" PRIu64 " bytes from offset %" PRIu64 " pass the end of a buffer of %" PRIu64 " bytes", bytes,
             span.offset, handle->bytes);
    }
    return;
  }
}

void WordReader::finish() {
  if (next_ == end_) return;
  fail(code::kInvalidArgument, "%s has %zu words too many, from word %zu on", place_.c_str(), end_ - next_, next_);
}

}  // namespace zo2::binding
