#include "cuda/runtime/lock_refusal.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <fstream>

namespace zo2::cuda {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

bool in_wsl() {
  std::ifstream file("/proc/sys/kernel/osrelease");
  std::string release;
  std::getline(file, release);
  return release.find("icrosoft") != std::string::npos;
}

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

LockFacts lock_facts(uint64_t bytes, const void* mapped) {
  LockFacts facts{bytes, contract::host(), in_wsl(), kNoLimit, false};
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) facts.lock_limit = limit.rlim_cur;
  // Whether the limit is for this process only trying shows: it does not hold root, and most drivers do not ask for it.
  if (mapped == nullptr || facts.lock_limit >= bytes) return facts;
  facts.lock_limit_holds = mlock(mapped, bytes) != 0;
  if (!facts.lock_limit_holds) munlock(mapped, bytes);
  return facts;
}

std::string why_not_locked(const LockFacts& facts) {
  const contract::Host& host = facts.host;
  const std::string whole = host.memory_by.empty() ? number(host.memory_total) + " that the machine has"
                                                   : number(host.memory_total) + " that " + host.memory_by + " allows";
  if (facts.bytes > host.memory_total) return "that is more than the " + whole + "; plan for less";
  if (facts.bytes > host.memory_free)
    return number(host.memory_free) + " are free of the " + whole + "; end what else needs memory, or plan for less";
  if (facts.wsl)
    return "Windows lets WSL lock a part of its memory only; give it more in .wslconfig, run on Linux itself, or plan "
           "for less";
  if (facts.lock_limit_holds)
    return "this process may lock " + number(facts.lock_limit) + " (ulimit -l); raise that limit, or plan for less";
  return number(host.memory_free) + " are free of the " + whole + ", so it is the driver that refuses; plan for less";
}

std::string said(const char* call, cudaError_t status) {
  return std::string(call) + " said: " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
}

}  // namespace zo2::cuda
