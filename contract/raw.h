// Enumerations as they come in from C, where any integer can stand in their place.
#pragma once

#include <cstring>

namespace zo2::contract {

// The number behind `value`. In C++ an enumeration must not even be read while it may hold a number that is none of its
// own.
template <typename Enumeration>
int raw(const Enumeration& value) {
  static_assert(sizeof(Enumeration) == sizeof(int), "enumerations of C have the size of int");
  int number;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

}  // namespace zo2::contract
