#include <algorithm>
#include <cinttypes>
#include <functional>

#include "block_conversion.h"
#include "buffer.h"
#include "conversion.h"
#include "device.h"
#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

// Elements, or blocks of them, between two looks at whether the device is being closed.
constexpr uint64_t kChunk = 1 << 16;
constexpr uint64_t kMostElements = (uint64_t{1} << 53) - 1;

// A conversion with everything it uses; its sources are kept by the promise. `convert` takes chunks of `count` one
// after another, and returns the index of the first element that is not finite, or kAllFinite.
struct Conversion {
  const char* name;
  std::shared_ptr<DeviceCore> device;
  std::shared_ptr<Resource> target_memory;
  uint64_t count;
  uint64_t chunk;
  std::function<int64_t(uint64_t at, uint64_t count)> convert;
  Promised promised;

  void cancel() const {
    promised.reject(Failure(code::kCancelled, std::string(name) + ": the device was closed meanwhile"));
  }

  // Everything is converted, also behind an element that is not finite.
  void run() const {
    int64_t first = kAllFinite;
    for (uint64_t at = 0; at < count; at += chunk) {
      if (device->host_work().stopped()) return cancel();
      const int64_t found = convert(at, std::min(chunk, count - at));
      if (first == kAllFinite) first = found;
    }
    promised.resolve([first](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(first)); });
  }
};

Napi::Value start(const Environment::NewPromise& converting, Conversion conversion) {
  const auto device = conversion.device;
  const auto work = std::make_shared<const Conversion>(std::move(conversion));
  device->post_host_work({[work] { work->run(); }, [work] { work->cancel(); }});
  return converting.promise;
}

zo2_dtype float_dtype(const Napi::Value& value, const char* name) {
  const auto dtype = static_cast<zo2_dtype>(integer_argument(value, name, ZO2_E4M3));
  if (float_bytes(dtype) == 0)
    fail(code::kInvalidArgument, "%s is %d; supported are 0 (f32), 1 (f16) and 2 (bf16)", name, dtype);
  return dtype;
}

zo2_dtype block_dtype(const Napi::Value& value, const char* name) {
  const auto dtype = static_cast<zo2_dtype>(integer_argument(value, name, ZO2_E4M3));
  if (!is_blocked(dtype)) fail(code::kInvalidArgument, "%s is %d; supported are 4 (i8) and 5 (e4m3)", name, dtype);
  return dtype;
}

// Bytes whose ArrayBuffer came first, and is kept: a small array may have its bytes inside its own object until
// somebody asks for that, and they move then.
struct Source {
  Napi::ArrayBuffer storage;
  Bytes bytes;
};

Source source_argument(const Napi::Value& value, const char* name) {
  bytes_argument(value, name);
  const Napi::ArrayBuffer storage = value.As<Napi::TypedArray>().ArrayBuffer();
  return {storage, bytes_argument(value, name)};
}

BufferHandle& target_argument(Napi::Env env, const Napi::Value& value, const DeviceCore* device, const char* name) {
  auto& target = static_cast<BufferHandle&>(handle_of(env, value, Kind::kBuffer, name));
  require_live(target, name);
  if (target.device.get() != device)
    fail(code::kHandle, "%s is a Buffer of another device; make it with this one", name);
  if (target.buffer_kind != ZO2_BUFFER_HOST)
    fail(code::kInvalidArgument, "%s is a device buffer; give a host buffer and copy it", name);
  return target;
}

// `count` units of `size` bytes have to lie in the `bytes` of what is named.
void check_room(const char* name, uint64_t count, uint64_t size, uint64_t bytes) {
  if (count > bytes / size) {
    fail(code::kInvalidArgument, "%s: %" PRIu64 " of %" PRIu64 " bytes each pass its end of %" PRIu64 " bytes", name,
         count, size, bytes);
  }
}

uint64_t width_argument(const Napi::Value& value, const char* name) {
  const uint64_t width = integer_argument(value, name, kMostElements);
  if (width == 0) fail(code::kInvalidArgument, "%s is 0, but must be at least 1", name);
  return width;
}

}  // namespace

Napi::Value convert(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "convert").device;
  const Source source = source_argument(info[0], "convert: source");
  const zo2_dtype source_dtype = float_dtype(info[1], "convert: sourceDtype");
  BufferHandle& target = target_argument(env, info[2], device.get(), "convert: target");
  const uint64_t offset = integer_argument(info[3], "convert: offset", target.bytes);
  const zo2_dtype target_dtype = float_dtype(info[4], "convert: targetDtype");
  const uint64_t count = integer_argument(info[5], "convert: count", kMostElements);
  const uint64_t source_bytes = float_bytes(source_dtype), target_bytes = float_bytes(target_dtype);
  if (count > source.bytes.count / source_bytes) {
    fail(code::kInvalidArgument,
         "convert: %" PRIu64 " elements of %" PRIu64 " bytes need more than the %zu bytes of source", count,
         source_bytes, source.bytes.count);
  }
  if (count > (target.bytes - offset) / target_bytes) {
    fail(code::kInvalidArgument,
         "convert: %" PRIu64 " elements of %" PRIu64 " bytes from offset %" PRIu64
         " pass the end of a target of %" PRIu64 " bytes",
         count, target_bytes, offset, target.bytes);
  }
  const Environment::NewPromise converting = Environment::of(env).promise(env, device, source.storage);
  const unsigned char* const from = source.bytes.data;
  unsigned char* const to = target.resource->host_pointer + offset;
  const auto body = [=](uint64_t at, uint64_t n) {
    const int64_t bad = convert_range(from + at * source_bytes, source_dtype, to + at * target_bytes, target_dtype, n);
    return bad == kAllFinite ? bad : static_cast<int64_t>(at) + bad;
  };
  return start(converting, {"convert", device, target.resource, count, kChunk, body, converting.promised});
}

Napi::Value quantise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "quantise").device;
  const Source source = source_argument(info[0], "quantise: source");
  const zo2_dtype source_dtype = float_dtype(info[1], "quantise: sourceDtype");
  BufferHandle& target = target_argument(env, info[2], device.get(), "quantise: target");
  const uint64_t offset = integer_argument(info[3], "quantise: offset", target.bytes);
  const uint64_t scale_offset = integer_argument(info[4], "quantise: scaleOffset", target.bytes);
  const zo2_dtype dtype = block_dtype(info[5], "quantise: targetDtype");
  const BlockRows rows = {width_argument(info[6], "quantise: rowWidth")};
  const uint64_t first = integer_argument(info[7], "quantise: first", kMostElements);
  const uint64_t count = integer_argument(info[8], "quantise: count", kMostElements - first);
  if (!rows.at_border(first) || !rows.at_border(first + count)) {
    fail(code::kInvalidArgument,
         "quantise: elements %" PRIu64 " to %" PRIu64 " of rows of %" PRIu64 " do not begin and end where blocks do",
         first, first + count, rows.width);
  }
  check_room("quantise: source", count, float_bytes(source_dtype), source.bytes.count);
  check_room("quantise: target", first + count, 1, target.bytes - offset);
  check_room("quantise: the scales of target", rows.blocks_before(first + count), 1, target.bytes - scale_offset);
  const Environment::NewPromise converting = Environment::of(env).promise(env, device, source.storage);
  const uint64_t first_block = rows.blocks_before(first), blocks = rows.blocks_before(first + count) - first_block;
  const unsigned char* const from = source.bytes.data;
  unsigned char* const to = target.resource->host_pointer;
  const auto body = [=](uint64_t at, uint64_t n) {
    return quantise_blocks(from, source_dtype, first, {to + offset, to + scale_offset, dtype, rows}, first_block + at,
                           n);
  };
  return start(converting,
               {"quantise", device, target.resource, blocks, kChunk / ZO2_BLOCK, body, converting.promised});
}

Napi::Value dequantise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "dequantise").device;
  BufferHandle& source = target_argument(env, info[0], device.get(), "dequantise: source");
  const uint64_t offset = integer_argument(info[1], "dequantise: offset", source.bytes);
  const uint64_t scale_offset = integer_argument(info[2], "dequantise: scaleOffset", source.bytes);
  const zo2_dtype dtype = block_dtype(info[3], "dequantise: sourceDtype");
  const BlockRows rows = {width_argument(info[4], "dequantise: rowWidth")};
  const uint64_t first = integer_argument(info[5], "dequantise: first", kMostElements);
  BufferHandle& target = target_argument(env, info[6], device.get(), "dequantise: target");
  const uint64_t target_offset = integer_argument(info[7], "dequantise: targetOffset", target.bytes);
  const zo2_dtype target_dtype = float_dtype(info[8], "dequantise: targetDtype");
  const uint64_t count = integer_argument(info[9], "dequantise: count", kMostElements - first);
  check_room("dequantise: source", first + count, 1, source.bytes - offset);
  check_room("dequantise: the scales of source", rows.blocks_before(first + count), 1, source.bytes - scale_offset);
  check_room("dequantise: target", count, float_bytes(target_dtype), target.bytes - target_offset);
  const Environment::NewPromise converting = Environment::of(env).promise(env, device, info[0].As<Napi::Object>());
  unsigned char* const from = source.resource->host_pointer;
  unsigned char* const to = target.resource->host_pointer + target_offset;
  const auto keep = source.resource;
  const auto body = [=](uint64_t at, uint64_t n) {
    static_cast<void>(keep);
    return dequantise_range({from + offset, from + scale_offset, dtype, rows}, first, to, target_dtype, at, n);
  };
  return start(converting, {"dequantise", device, target.resource, count, kChunk, body, converting.promised});
}

}  // namespace zo2::binding
