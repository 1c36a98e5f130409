#include <napi.h>

#include <cinttypes>
#include <string>
#include <vector>

#include "buffer.h"
#include "build_info.h"
#include "callbacks.h"
#include "contract/zo2.h"
#include "device.h"
#include "environment.h"
#include "file_lock.h"
#include "values.h"

namespace zo2::binding {
namespace {

// The backends that the build chose: the one place of binding/ that knows their names.
std::vector<const zo2_backend*> compiled_backends() {
  return {
#ifdef ZO2_WITH_CPU
      zo2_cpu_backend(),
#endif
#ifdef ZO2_WITH_CUDA
      zo2_cuda_backend(),
#endif
  };
}

Napi::Value backends(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  for (const zo2_backend* backend : compiled_backends()) {
    int32_t count = 0;
    zo2_error error{};
    const zo2_status status = backend->device_count(&count, &error);
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("kind", backend->kind);
    entry.Set("devices", Napi::Number::New(env, status == ZO2_OK ? count : 0));
    if (status != ZO2_OK || count == 0) entry.Set("reason", error.message);
    list.Set(list.Length(), entry);
  }
  return list;
}

const zo2_backend* backend_of(const std::string& kind) {
  std::string known;
  for (const zo2_backend* backend : compiled_backends()) {
    if (backend->contract_version != ZO2_CONTRACT_VERSION) {
      fail(code::kDevice, "openDevice: the %s backend has contract version %u, the addon has %u; build both again",
           backend->kind, backend->contract_version, ZO2_CONTRACT_VERSION);
    }
    if (kind == backend->kind) return backend;
    known += (known.empty() ? "" : ", ") + std::string(backend->kind);
  }
  fail(code::kDevice,
       "openDevice: no \"%s\" backend in this build, which has: %s; build again with it (ZO2_CUDA=on), or use one of "
       "these",
       kind.c_str(), known.c_str());
}

Napi::Value open_device(const Napi::CallbackInfo& info) {
  const zo2_backend* backend = backend_of(string_argument(info[0], "openDevice: kind"));
  if (!info[1].IsObject()) fail(code::kInvalidArgument, "openDevice: options must be an object");
  const Napi::Object given = info[1].As<Napi::Object>();
  constexpr uint64_t kLargest = (uint64_t{1} << 53) - 1;
  zo2_device_options options{};
  options.ordinal = static_cast<int32_t>(integer_option(given, "ordinal", "openDevice: ordinal", INT32_MAX, 0));
  options.threads = static_cast<uint32_t>(integer_option(given, "threads", "openDevice: threads", UINT32_MAX, 0));
  options.memory_limit = integer_option(given, "memoryLimit", "openDevice: memoryLimit", kLargest, 0);
  options.delay_microseconds =
      static_cast<uint32_t>(integer_option(given, "delayMicroseconds", "openDevice: delayMicroseconds", UINT32_MAX, 0));
  options.delay_seed = integer_option(given, "delaySeed", "openDevice: delaySeed", kLargest, 0);
  options.generic_kernels = flag_option(given, "genericKernels", "openDevice: genericKernels") ? 1 : 0;
  options.no_io_uring = flag_option(given, "noIoUring", "openDevice: noIoUring") ? 1 : 0;
  options.refuse_allocation = integer_option(given, "refuseAllocation", "openDevice: refuseAllocation", kLargest, 0);
  options.tf32 = flag_option(given, "tf32", "openDevice: tf32") ? 1 : 0;
  return Environment::of(info.Env()).open_device(info.Env(), backend, options);
}

void init(Napi::Env env, Napi::Object exports) {
  Environment::install(env);
  Environment& environment = Environment::of(env);
  const auto keep = [&](Kind kind, const Napi::Function& constructor) {
    environment.constructor(kind) = Napi::Persistent(constructor);
  };
  keep(Kind::kDevice, define_device(env));
  keep(Kind::kStream, define_stream(env));
  keep(Kind::kEvent, define_event(env));
  keep(Kind::kGate, define_gate(env));
  keep(Kind::kBuffer, define_buffer(env));
  keep(Kind::kLayout, define_layout(env));
  keep(Kind::kProgram, define_program(env));
  exports.Set("contractVersion", Napi::Number::New(env, ZO2_CONTRACT_VERSION));
  exports.Set("build", Napi::String::New(env, ZO2_BUILD));
  define_members(
      env, exports,
      {method<backends>("backends"), async_method<open_device>("openDevice"), method<lock_file>("lockFile")});
}

}  // namespace
}  // namespace zo2::binding

NAPI_MODULE_INIT() {
  try {
    zo2::binding::init(env, Napi::Object(env, exports));
    return exports;
  } catch (...) {
    zo2::binding::raise_current(env);
  }
  return nullptr;
}
