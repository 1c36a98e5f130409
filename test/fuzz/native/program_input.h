// How an input of fuzz_program is laid out: 64-bit floating point words, those of the program behind a few of ours.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "contract/zo2.h"

namespace zo2::fuzz {

// Bytes of each space, value of each symbol, seed of the memory; then the program.
constexpr size_t kSymbolWords = ZO2_SPACES;
constexpr size_t kSeedWord = kSymbolWords + ZO2_SYMBOLS;
constexpr size_t kProgramWords = kSeedWord + 1;

inline std::vector<double> words_of(const uint8_t* data, size_t bytes) {
  std::vector<double> words(bytes / sizeof(double));
  if (!words.empty()) std::memcpy(words.data(), data, words.size() * sizeof(double));
  return words;
}

// A number as a count; what is none of them becomes 0.
inline uint64_t count_of(double word) {
  return word >= 0 && word <= 9007199254740992.0 ? static_cast<uint64_t>(word) : 0;
}

}  // namespace zo2::fuzz
