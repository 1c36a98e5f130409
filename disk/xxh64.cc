#include "disk/xxh64.h"

#include <cstring>

namespace zo2::disk {
namespace {

// The names of the specification.
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4Fu;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9u;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63u;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5u;

constexpr int kLanes = 4;
constexpr uint64_t kStripe = kLanes * sizeof(uint64_t);

template <typename Word>
uint64_t word_at(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t rotate_left(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

uint64_t round(uint64_t accumulator, uint64_t lane) { return rotate_left(accumulator + lane * kPrime2, 31) * kPrime1; }

uint64_t merge(uint64_t accumulator, uint64_t other) { return (accumulator ^ round(0, other)) * kPrime1 + kPrime4; }

// Takes the whole stripes.
uint64_t converge(const uint8_t** bytes, const uint8_t* end) {
  uint64_t accumulators[kLanes] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  for (; end - *bytes >= static_cast<int64_t>(kStripe); *bytes += kStripe) {
    for (int lane = 0; lane < kLanes; ++lane)
      accumulators[lane] = round(accumulators[lane], word_at<uint64_t>(*bytes + lane * sizeof(uint64_t)));
  }
  uint64_t all = rotate_left(accumulators[0], 1) + rotate_left(accumulators[1], 7) + rotate_left(accumulators[2], 12) +
                 rotate_left(accumulators[3], 18);
  for (const uint64_t accumulator : accumulators) all = merge(all, accumulator);
  return all;
}

}  // namespace

uint64_t xxh64(const uint8_t* bytes, uint64_t count) {
  const uint8_t* const end = bytes + count;
  uint64_t all = count >= kStripe ? converge(&bytes, end) : kPrime5;
  all += count;
  for (; end - bytes >= 8; bytes += 8)
    all = rotate_left(all ^ round(0, word_at<uint64_t>(bytes)), 27) * kPrime1 + kPrime4;
  for (; end - bytes >= 4; bytes += 4)
    all = rotate_left(all ^ (word_at<uint32_t>(bytes) * kPrime1), 23) * kPrime2 + kPrime3;
  for (; bytes < end; ++bytes) all = rotate_left(all ^ (*bytes * kPrime5), 11) * kPrime1;
  all = (all ^ (all >> 33)) * kPrime2;
  all = (all ^ (all >> 29)) * kPrime3;
  return all ^ (all >> 32);
}

}  // namespace zo2::disk
