#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "resource.h"

namespace zo2::binding {

// Integers up to here are exact in a 64-bit floating point word.
inline constexpr uint64_t kMaxInteger = (uint64_t{1} << 53) - 1;

// Reads the words of one command (or segment) in order. Every reader takes the meaning of the word, for the message of
// the Failure it throws.
class WordReader {
 public:
  // `place` is the start of every message: "submit: command 3 (copy)".
  WordReader(const double* words, size_t begin, size_t end, const std::vector<std::shared_ptr<Resource>>& handles,
             std::string place)
      : words_(words), next_(begin), end_(end), handles_(handles), place_(std::move(place)) {}

  uint64_t integer(const char* meaning, uint64_t largest = kMaxInteger);
  uint32_t integer32(const char* meaning) { return static_cast<uint32_t>(integer(meaning, UINT32_MAX)); }
  // -1 stands for `none`.
  uint32_t optional_integer32(const char* meaning, uint32_t none);
  // How many entries of a list follow: at most as many as there are words, so that a lying count reserves nothing.
  uint32_t count(const char* meaning) {
    return static_cast<uint32_t>(integer(meaning, std::min<uint64_t>(left(), UINT32_MAX)));
  }
  int64_t signed_integer(const char* meaning);
  bool flag(const char* meaning) { return integer(meaning, 1) == 1; }
  double finite(const char* meaning);
  float finite_float(const char* meaning);
  uint64_t seed(const char* meaning);
  template <class T>
  T choice(const char* meaning, T largest) {
    return static_cast<T>(integer(meaning, static_cast<uint64_t>(largest)));
  }

  template <class T>
  T* handle(Kind kind, const char* meaning) {
    return resource(kind, meaning)->template as<T>();
  }
  // A span whose first byte lies in its buffer or just behind the last one; `optional_span` also takes -1 for "none".
  zo2_span span(const char* meaning);
  zo2_span optional_span(const char* meaning);
  // A span of `bytes` bytes that begins at the word read last as `span`: all of it must lie in the buffer.
  void reaches(const zo2_span& span, uint64_t bytes, const char* meaning);

  size_t left() const { return end_ - next_; }
  // No word may be left over.
  void finish();

 private:
  double word(const char* meaning);
  const Resource* resource(Kind kind, const char* meaning);
  [[noreturn]] __attribute__((format(printf, 4, 5))) void reject(const char* code, const char* meaning,
                                                                 const char* format, ...);

  const double* const words_;
  size_t next_;
  const size_t end_;
  const std::vector<std::shared_ptr<Resource>>& handles_;
  const std::string place_;
};

}  // namespace zo2::binding
