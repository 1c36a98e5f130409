#include <cinttypes>

#include "buffer.h"
#include "conversion.h"
#include "device.h"
#include "environment.h"
#include "values.h"

namespace zo2::binding {
namespace {

// Elements between two looks at whether the device is being closed.
constexpr uint64_t kChunk = 1 << 16;

// The conversion with everything it uses: `source` is kept by the promise.
struct Conversion {
  std::shared_ptr<DeviceCore> device;
  std::shared_ptr<Resource> target_memory;
  const unsigned char* source;
  unsigned char* target;
  zo2_dtype source_dtype;
  zo2_dtype target_dtype;
  uint64_t count;
  Promised promised;

  void cancel() const { promised.reject(Failure(code::kCancelled, "convert: the device was closed meanwhile")); }

  // Everything is converted, also behind an element that is not finite.
  void run() const {
    const uint64_t source_bytes = float_bytes(source_dtype);
    const uint64_t target_bytes = float_bytes(target_dtype);
    int64_t first = kAllFinite;
    for (uint64_t at = 0; at < count; at += kChunk) {
      if (device->host_work().stopped()) return cancel();
      const int64_t found = convert_range(source + at * source_bytes, source_dtype, target + at * target_bytes,
                                          target_dtype, std::min(kChunk, count - at));
      if (first == kAllFinite && found != kAllFinite) first = static_cast<int64_t>(at) + found;
    }
    promised.resolve([first](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(first)); });
  }
};

zo2_dtype float_dtype(const Napi::Value& value, const char* name) {
  const auto dtype = static_cast<zo2_dtype>(integer_argument(value, name, ZO2_I32));
  if (float_bytes(dtype) == 0)
    fail(code::kInvalidArgument, "%s is %d; supported are 0 (f32), 1 (f16) and 2 (bf16)", name, dtype);
  return dtype;
}

}  // namespace

Napi::Value convert(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "convert").device;
  bytes_argument(info[0], "convert: source");
  // Its ArrayBuffer first, and kept: a small array may have its bytes inside its own object until somebody asks for
  // that, and they move then.
  const Napi::ArrayBuffer storage = info[0].As<Napi::TypedArray>().ArrayBuffer();
  const Bytes source = bytes_argument(info[0], "convert: source");
  const zo2_dtype source_dtype = float_dtype(info[1], "convert: sourceDtype");
  auto& target = static_cast<BufferHandle&>(handle_of(env, info[2], Kind::kBuffer, "convert: target"));
  require_live(target, "convert: target");
  if (target.device != device)
    fail(code::kHandle, "convert: target is a Buffer of another device; make it with this one");
  if (target.buffer_kind != ZO2_BUFFER_HOST)
    fail(code::kInvalidArgument, "convert: target is a device buffer; give a host buffer and copy it");
  const uint64_t offset = integer_argument(info[3], "convert: offset", target.bytes);
  const zo2_dtype target_dtype = float_dtype(info[4], "convert: targetDtype");
  const uint64_t count = integer_argument(info[5], "convert: count", (uint64_t{1} << 53) - 1);
  if (count > source.count / float_bytes(source_dtype)) {
    fail(code::kInvalidArgument, "convert: %" PRIu64 " elements of %zu bytes need more than the %zu bytes of source",
         count, float_bytes(source_dtype), source.count);
  }
  if (count > (target.bytes - offset) / float_bytes(target_dtype)) {
    fail(code::kInvalidArgument,
         "convert: %" PRIu64 " elements of %zu bytes from offset %" PRIu64 " pass the end of a target of %" PRIu64
         " bytes",
         count, float_bytes(target_dtype), offset, target.bytes);
  }
  const Environment::NewPromise converting = Environment::of(env).promise(env, device, storage);
  const auto work = std::make_shared<const Conversion>(Conversion{device, target.resource, source.data,
                                                                  target.resource->host_pointer + offset, source_dtype,
                                                                  target_dtype, count, converting.promised});
  device->post_host_work({[work] { work->run(); }, [work] { work->cancel(); }});
  return converting.promise;
}

}  // namespace zo2::binding
