#include "emulator/config.h"

#include <cstdlib>
#include <cstring>

#include <algorithm>

namespace zo2::emu {
namespace {

uint64_t number(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : strtoull(text, nullptr, 10);
}

bool is(const char* name, const char* value) {
  const char* text = getenv(name);
  return text != nullptr && strcmp(text, value) == 0;
}

Config read() {
  Config config;
  config.order = is("ZO2_EMU_ORDER", "rand")  ? Order::kRandom
                 : is("ZO2_EMU_ORDER", "rev") ? Order::kReverse
                                              : Order::kForward;
  config.progress = is("ZO2_EMU_STREAMS", "rand")   ? Progress::kRandom
                    : is("ZO2_EMU_STREAMS", "lazy") ? Progress::kLazy
                                                    : Progress::kEager;
  config.seed = number("ZO2_EMU_SEED", 1);
  config.resident = static_cast<int>(std::clamp<uint64_t>(number("ZO2_EMU_RESIDENT", 1), 1, 64));
  config.capability = static_cast<int>(number("ZO2_EMU_CAPABILITY", 90));
  config.memory = number("ZO2_EMU_MEMORY", uint64_t{64} << 30);
  return config;
}

}  // namespace

const Config& config() {
  static const Config chosen = read();
  return chosen;
}

}  // namespace zo2::emu
