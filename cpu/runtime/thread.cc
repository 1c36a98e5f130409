#include "cpu/runtime/thread.h"

#include <pthread.h>
#include <signal.h>

#include <cfenv>
#include <system_error>

#include "contract/status.h"

namespace zo2::cpu {

std::thread start_thread(const std::string& name, std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread thread([name = name.substr(0, 15), body = std::move(body)] {
      pthread_setname_np(pthread_self(), name.c_str());
      std::fesetenv(FE_DFL_ENV);
      body();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
  } catch (const std::system_error& error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    contract::fail(ZO2_STATUS_DEVICE,
                   "thread \"%s\" could not be started: %s; use fewer threads or raise the process's limit",
                   name.c_str(), error.what());
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
}

}  // namespace zo2::cpu
