#include "contract/span.h"

#include <cinttypes>
#include <string>

#include "contract/status.h"

namespace zo2::contract {

// The handles of zo2.h are never defined as types: the backends of one addon each have their own behind them.
const Memory& memory_of(const zo2_span& span) { return *reinterpret_cast<const Memory*>(span.buffer); }

namespace {

std::string label(const SpanRule& rule) {
  return rule.element == nullptr ? rule.name : std::string(rule.name) + "[" + rule.element + "]";
}

const char* const kKindNames[] = {"device", "host", "file"};

// What is wrong with a buffer of this kind there, and what to do; null for nothing.
const char* kind_fault(Kinds kinds, zo2_buffer_kind kind) {
  switch (kinds) {
    case Kinds::kAny:
      return kind == ZO2_BUFFER_FILE ? "which only copies from and to host memory and gathers into it reach" : nullptr;
    case Kinds::kDeviceOnly:
      return kind == ZO2_BUFFER_DEVICE ? nullptr : "but must be device memory; copy it there first";
    case Kinds::kHostOnly:
      return kind == ZO2_BUFFER_HOST ? nullptr : "but must be host memory";
    case Kinds::kFileOnly:
      return kind == ZO2_BUFFER_FILE ? nullptr : "but must be a file";
  }
  return nullptr;
}

}  // namespace

uint8_t* resolve(const void* device, const char* command, const zo2_span& span, const SpanRule& rule) {
  if (is_none(span)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s is none, but must name a buffer", command, label(rule).c_str());
  }
  const Memory& buffer = memory_of(span);
  if (buffer.owner != device) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s is a buffer of another device", command, label(rule).c_str());
  }
  if (const char* const fault = kind_fault(rule.kinds, buffer.kind)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s is a %s buffer, %s", command, label(rule).c_str(),
         kKindNames[buffer.kind], fault);
  }
  if (span.offset > buffer.bytes || rule.bytes > buffer.bytes - span.offset) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "%s: %s needs %" PRIu64 " bytes from offset %" PRIu64 " on, but its buffer has %" PRIu64, command,
         label(rule).c_str(), rule.bytes, span.offset, buffer.bytes);
  }
  if (span.offset % rule.alignment != 0) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s starts at offset %" PRIu64 ", which is no multiple of %" PRIu64, command,
         label(rule).c_str(), span.offset, rule.alignment);
  }
  return buffer.data == nullptr ? nullptr : buffer.data + span.offset;
}

bool in_file(const zo2_span& span) { return !is_none(span) && memory_of(span).kind == ZO2_BUFFER_FILE; }

void check_disjoint(const char* command, const std::vector<Place>& written, const std::vector<Place>& read) {
  const auto check = [command](const Place& a, const Place& b) {
    if (!overlap(static_cast<const uint8_t*>(a.data), a.bytes, static_cast<const uint8_t*>(b.data), b.bytes)) return;
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s (%" PRIu64 " bytes) overlaps %s (%" PRIu64 " bytes)", command, a.name,
         a.bytes, b.name, b.bytes);
  };
  for (size_t i = 0; i < written.size(); ++i) {
    for (size_t j = 0; j < i; ++j) check(written[i], written[j]);
    for (const Place& one : read) check(written[i], one);
  }
}

}  // namespace zo2::contract
