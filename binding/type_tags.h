#pragma once

/*
 * One tag per handle class. A JavaScript object carries its tag from construction on, and every cast from an object to
 * a C++ handle checks it first: without the tag, `buffer.read.call(stream)` or a Stream in the place of a Buffer of a
 * command list would read one class's memory as another's.
 *
 *   Device   checked before the receiver of Device.* is used
 *   Stream   before a command names the stream it is enqueued on
 *   Event    before record, wait, done, time
 *   Gate     before hold, open
 *   Buffer   before a span of a command, read, write, or the target of convert is resolved to an address
 *   Layout   before prepare reads segments
 *   Program  before run reads ops
 */

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace zo2::binding {

enum class Kind : uint8_t { kDevice, kStream, kEvent, kGate, kBuffer, kLayout, kProgram };
inline constexpr size_t kKinds = 7;

struct KindInfo {
  const char* name;     // of the JavaScript class
  const char* made_by;  // how a user gets one
  napi_type_tag tag;
};

inline constexpr KindInfo kKindInfo[kKinds] = {
    {"Device", "openDevice", {0x7a6f322d64657669, 0x9d3c1f0a52e84b61}},
    {"Stream", "Device.createStream", {0x7a6f322d73747265, 0x41b7e6d92c0f8a35}},
    {"Event", "Device.createEvent", {0x7a6f322d6576656e, 0xe80529c4b37d16fa}},
    {"Gate", "Device.createGate", {0x7a6f322d67617465, 0x16fd7a83c95e402b}},
    {"Buffer", "Device.createBuffer", {0x7a6f322d62756666, 0xb2946e0d7fa1c853}},
    {"Layout", "Device.createLayout", {0x7a6f322d6c61796f, 0x5ac81397e4d60fb2}},
    {"Program", "Device.createProgram", {0x7a6f322d70726f67, 0xc37f52a80b6e9d14}},
};

constexpr const KindInfo& kind_info(Kind kind) { return kKindInfo[static_cast<size_t>(kind)]; }

}  // namespace zo2::binding
