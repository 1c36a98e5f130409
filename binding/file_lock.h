// Locks on files that end with their process: Node has none.
#pragma once

#include <napi.h>

namespace zo2::binding {

// lockFile(descriptor): whether the open file is this process's alone now. The lock goes with the last descriptor of
// that opening, however the process ends. Never waits.
Napi::Value lock_file(const Napi::CallbackInfo& info);

}  // namespace zo2::binding
