#include "device.h"
#include "values.h"
#include "words.h"

namespace zo2::binding {
namespace {

constexpr size_t kSegmentWords = 10;

Napi::Value segments(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), self<LayoutHandle>(info, "Layout.segments").segments);
}

std::vector<zo2_segment> decode_segments(const Doubles& words) {
  if (words.count % kSegmentWords != 0) {
    fail(code::kInvalidArgument, "createLayout: %zu words are not a multiple of %zu, the words of a segment",
         words.count, kSegmentWords);
  }
  std::vector<zo2_segment> segments;
  const std::vector<std::shared_ptr<Resource>> no_handles;
  for (size_t at = 0; at < words.count; at += kSegmentWords) {
    WordReader in(words.data, at, at + kSegmentWords, no_handles,
                  "createLayout: segment " + std::to_string(segments.size()));
    zo2_segment segment{};
    segment.canonical = in.integer("canonical");
    segment.count = in.integer("count");
    segment.wire_offset = in.integer("wire offset");
    segment.scratch_offset = in.integer("scratch offset");
    segment.row_width = in.integer("row width");
    segment.wire_dtype = static_cast<uint32_t>(in.integer("wire dtype", ZO2_E4M3));
    segment.scratch_dtype = static_cast<uint32_t>(in.integer("scratch dtype", ZO2_BF16));
    segment.flags =
        static_cast<uint32_t>(in.integer("flags", ZO2_SEGMENT_DECAY | ZO2_SEGMENT_FROZEN | ZO2_SEGMENT_GATHERED));
    segment.first_row = in.integer32("first row");
    segment.scale_offset = in.integer("scale offset");
    segments.push_back(segment);
  }
  return segments;
}

}  // namespace

Napi::Function define_layout(Napi::Env env) { return define_class(env, Kind::kLayout, {getter<segments>("segments")}); }

Napi::Value create_layout(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createLayout").device;
  const std::vector<zo2_segment> segments = decode_segments(doubles_argument(info[0], "createLayout: segments"));
  zo2_error error{};
  zo2_layout* raw = nullptr;
  check(device->backend().layout_create(device->raw(), segments.data(), segments.size(), &raw, &error), error,
        "createLayout");
  auto resource = std::make_shared<Resource>(device->table(), Kind::kLayout, raw);
  return new_object(info.Env(),
                    std::make_unique<LayoutHandle>(device, std::move(resource), static_cast<double>(segments.size())));
}

}  // namespace zo2::binding
