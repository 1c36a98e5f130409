#include "emulator/loading.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

#include "emulator/cudart.h"
#include "emulator/streams_internal.h"

namespace zo2::emu {
namespace {

// Far above any delay of a test mode; a stream that is held by the calling thread stays held for ever.
constexpr std::chrono::milliseconds kPatience(500);

std::set<const void*>& loaded() {
  static auto* kernels = new std::set<const void*>;
  return *kernels;
}

}  // namespace

void load_kernel(const void* kernel) { loaded().insert(kernel); }
bool kernel_loaded(const void* kernel) { return loaded().count(kernel) != 0; }
void unload_kernels() { loaded().clear(); }

bool outlasts_held_streams(const char* function) {
  Streams& s = streams();
  std::vector<Prefix> held;
  for (const auto& stream : s.all) {
    if (stream != nullptr && stream->busy) held.push_back({stream, stream->done + 1});
  }
  const auto limit = std::chrono::steady_clock::now() + kPatience;
  const auto ended = [&] { return std::all_of(held.begin(), held.end(), [](const Prefix& p) { return p.done(); }); };
  while (!ended()) {
    if (s.changed.wait_until(s.lock, limit) == std::cv_status::no_timeout || ended()) continue;
    report_call(function, "may wait for every stream, and stream %d is held", held.front().stream->number);
    return false;
  }
  return true;
}

}  // namespace zo2::emu
