#pragma once

#include <napi.h>

#include <vector>

#include "errors.h"

namespace zo2::binding {

using Method = Napi::Value (*)(const Napi::CallbackInfo& info);

// Makes the exception in flight the pending one of JavaScript; only inside a catch block. While an environment is being
// terminated that fails, and there is nobody left to tell: no exception may leave a callback, so it is dropped.
void raise_current(napi_env env) noexcept;
// A promise that is rejected with the exception in flight; only inside a catch block.
napi_value reject_current(napi_env env) noexcept;

// Node-API callbacks: the only functions that Node calls, and the only place where C++ exceptions become JavaScript
// ones.
template <Method method>
napi_value throwing(napi_env env, napi_callback_info raw) noexcept {
  try {
    return method(Napi::CallbackInfo(env, raw));
  } catch (...) {
    raise_current(env);
  }
  return nullptr;
}

// The same for functions that return a promise: they reject instead of throwing.
template <Method method>
napi_value rejecting(napi_env env, napi_callback_info raw) noexcept {
  try {
    return method(Napi::CallbackInfo(env, raw));
  } catch (...) {
    return reject_current(env);
  }
}

// A line of a class's table of members; scripts/check-api.mjs compares these tables with native.d.cts.
struct Member {
  const char* name;
  napi_callback method;
  napi_callback getter;
};

template <Method m>
Member method(const char* name) {
  return {name, throwing<m>, nullptr};
}
template <Method m>
Member async_method(const char* name) {
  return {name, rejecting<m>, nullptr};
}
template <Method m>
Member getter(const char* name) {
  return {name, nullptr, throwing<m>};
}

void define_members(napi_env env, napi_value object, const std::vector<Member>& members);

}  // namespace zo2::binding
