#include "device.h"
#include "values.h"
#include "words.h"

namespace zo2::binding {
namespace {

constexpr size_t kOpCountWord = 2;  // version, operand count, op count

Napi::Value ops(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), self<ProgramHandle>(info, "Program.ops").ops);
}

}  // namespace

Napi::Function define_program(Napi::Env env) { return define_class(env, Kind::kProgram, {getter<ops>("ops")}); }

Napi::Value create_program(const Napi::CallbackInfo& info) {
  const std::shared_ptr<DeviceCore> device = live_self<DeviceHandle>(info, "createProgram").device;
  const Doubles words = doubles_argument(info[0], "createProgram: words");
  const Doubles sizes = doubles_argument(info[1], "createProgram: spaceBytes");
  if (sizes.count != ZO2_SPACES) {
    fail(code::kInvalidArgument, "createProgram: spaceBytes has %zu entries; it needs %d, one a space", sizes.count,
         static_cast<int>(ZO2_SPACES));
  }
  uint64_t space_bytes[ZO2_SPACES];
  const std::vector<std::shared_ptr<Resource>> no_handles;
  WordReader in(sizes.data, 0, sizes.count, no_handles, "createProgram: spaceBytes");
  for (uint64_t& bytes : space_bytes) bytes = in.integer("size of a space");
  zo2_error error{};
  zo2_program* raw = nullptr;
  check(device->backend().program_create(device->raw(), words.data, words.count, space_bytes, &raw, &error), error,
        "createProgram");
  auto resource = std::make_shared<Resource>(device->table(), Kind::kProgram, raw);
  return new_object(info.Env(), std::make_unique<ProgramHandle>(device, std::move(resource), words.data[kOpCountWord]));
}

}  // namespace zo2::binding
