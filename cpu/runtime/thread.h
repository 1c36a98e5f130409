// How the backend starts a thread of its own.
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace zo2::cpu {

// Starts `body` on a thread named `name` (at most 15 bytes show in a debugger), with every signal blocked, so that the
// process's handlers run on its own threads, and with the default floating point environment: arithmetic must not
// depend on the rounding or flush-to-zero mode of whoever opened the device. `body` must not throw. Throws
// Failure(DEVICE) when no thread can be started.
std::thread start_thread(const std::string& name, std::function<void()> body);

}  // namespace zo2::cpu
