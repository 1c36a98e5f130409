#include "cuda/runtime/thread.h"

#include <pthread.h>
#include <signal.h>

#include <system_error>

#include "contract/status.h"

namespace zo2::cuda {
namespace {

// Blocks every signal while it lives.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

std::thread start_thread(const std::string& name, std::function<void()> body) {
  const SignalsBlocked blocked;  // a thread inherits the mask
  try {
    return std::thread([name = name.substr(0, 15), body = std::move(body)] {
      pthread_setname_np(pthread_self(), name.c_str());
      body();
    });
  } catch (const std::system_error& error) {
    contract::fail(ZO2_STATUS_DEVICE,
                   "thread \"%s\" could not be started: %s; use fewer streams or raise the process's limit",
                   name.c_str(), error.what());
  }
}

}  // namespace zo2::cuda
