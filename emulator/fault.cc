#include "emulator/fault.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <memory>

#include "emulator/internal.h"
#include "emulator/race_place.h"

namespace zo2::emu {

#if defined(__SANITIZE_ADDRESS__)

void catch_faults() {}

#else

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS};
struct sigaction before[2];

uintptr_t instruction_of(const void* context) {
  const auto* machine = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  return static_cast<uintptr_t>(machine->uc_mcontext.gregs[REG_RIP]);
#else
  return static_cast<uintptr_t>(machine->uc_mcontext.pc);
#endif
}

void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& other = before[signal == SIGSEGV ? 0 : 1];
  if ((other.sa_flags & SA_SIGINFO) != 0) {
    other.sa_sigaction(signal, info, context);
  } else if (other.sa_handler != SIG_DFL && other.sa_handler != SIG_IGN) {
    other.sa_handler(signal);
  } else {
    // the instruction runs again, and the process ends as if we had never been here
    sigaction(signal, &other, nullptr);
  }
}

// Runs at the instruction that faulted, on a stack of its own, so that it may do what that place may do: report, and
// leave for good.
void handle(int signal, siginfo_t* info, void* context) {
  if (current == nullptr) {
    pass_on(signal, info, context);
    return;
  }
  const uintptr_t instruction = instruction_of(context);
  const Where where = race::in_image(instruction)
                          ? race::resolve(race::place_of(reinterpret_cast<void*>(instruction + 1)))
                          : Where(nullptr, 0);
  if (in_fiber_stack(info->si_addr))
    fail("stack", where, "a thread needs more local memory than the emulator gives it");
  fail("memcheck", where, "the kernel touches %p, where there is no memory", info->si_addr);
}

void install() {
  for (int index = 0; index < 2; ++index) {
    struct sigaction action = {};
    action.sa_sigaction = &handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // not deferred: the handler may never return
    sigemptyset(&action.sa_mask);
    sigaction(kSignals[index], &action, &before[index]);
  }
}

// A kernel that overran its stack leaves no room for a handler there.
class SignalStack {
 public:
  SignalStack() {
    stack_t present = {};
    if (sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
    memory_ = std::make_unique<char[]>(kBytes);
    stack_t mine = {};
    mine.ss_sp = memory_.get();
    mine.ss_size = kBytes;
    sigaltstack(&mine, nullptr);
  }
  ~SignalStack() {
    if (memory_ == nullptr) return;
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }

 private:
  static constexpr size_t kBytes = 256 << 10;  // resolving a line takes some
  std::unique_ptr<char[]> memory_;
};

}  // namespace

void catch_faults() {
  static const bool installed = (install(), true);
  static_cast<void>(installed);
  static thread_local SignalStack stack;
}

#endif

}  // namespace zo2::emu
