#include "file_lock.h"

#include <sys/file.h>

#include <cerrno>
#include <cstring>

#include "callbacks.h"
#include "errors.h"
#include "values.h"

namespace zo2::binding {

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  const int descriptor = static_cast<int>(integer_argument(info[0], "lockFile: descriptor", INT32_MAX));
  int result = 0;
  do {
    result = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EWOULDBLOCK) fail(code::kIo, "lockFile: %s", std::strerror(errno));
  return Napi::Boolean::New(info.Env(), result == 0);
}

}  // namespace zo2::binding
