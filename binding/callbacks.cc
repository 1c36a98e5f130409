#include "callbacks.h"

namespace zo2::binding {
namespace {

// The exception in flight as a JavaScript value.
napi_value current_error(napi_env env) {
  try {
    throw;
  } catch (const Napi::Error& error) {
    return error.Value();
  } catch (...) {
    return to_js(env, current_failure("zo2")).Value();
  }
}

}  // namespace

void raise_current(napi_env env) noexcept {
  try {
    napi_throw(env, current_error(env));
  } catch (...) {
  }
}

napi_value reject_current(napi_env env) noexcept {
  try {
    const napi_value reason = current_error(env);
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(reason);
    return deferred.Promise();
  } catch (...) {
    raise_current(env);
  }
  return nullptr;
}

void define_members(napi_env env, napi_value object, const std::vector<Member>& members) {
  std::vector<napi_property_descriptor> properties;
  for (const Member& member : members) {
    napi_property_descriptor property{};
    property.utf8name = member.name;
    property.method = member.method;
    property.getter = member.getter;
    property.attributes = member.method == nullptr ? napi_enumerable : napi_default_method;
    properties.push_back(property);
  }
  if (napi_define_properties(env, object, properties.size(), properties.data()) != napi_ok) throw Napi::Error::New(env);
}

}  // namespace zo2::binding
