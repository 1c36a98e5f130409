// Numbers for tests: the same on every machine (SplitMix64, Steele et al. 2014).
#pragma once

#include <cstdint>

namespace zo2::test {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t limit) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(limit)); }
  // In [-1, 1).
  double real() { return static_cast<double>(static_cast<int64_t>(bits())) * 0x1p-63; }

 private:
  uint64_t state_;
};

}  // namespace zo2::test
