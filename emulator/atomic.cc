// Atomics: fibers do not run at the same time, so that each is one plain update.
#include <algorithm>

#include "emulator/device.h"
#include "emulator/internal.h"

namespace zo2::emu {
namespace {

template <class T>
T combine(Atomic kind, T old, T value, T compare) {
  switch (kind) {
    case Atomic::kAdd:
      return static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + static_cast<std::make_unsigned_t<T>>(value));
    case Atomic::kMinimum:
      return std::min(old, value);
    case Atomic::kMaximum:
      return std::max(old, value);
    case Atomic::kOr:
      return old | value;
    case Atomic::kAnd:
      return old & value;
    case Atomic::kExchange:
      return value;
    case Atomic::kCompareAndSwap:
      return old == compare ? value : old;
  }
  return old;
}

template <class T>
T update(Atomic kind, T* address, T value, T compare, Where where) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) != 0) {
    fail("misaligned", where, "atomic on %p, which is no multiple of %zu", static_cast<void*>(address), sizeof(T));
  }
  maybe_yield();
  touch(address, sizeof(T), true, true, where);
  const T old = *address;
  *address = combine(kind, old, value, compare);
  return old;
}

}  // namespace

int32_t atomic(Atomic kind, int32_t* address, int32_t value, int32_t compare, Where where) {
  return update(kind, address, value, compare, where);
}
uint32_t atomic(Atomic kind, uint32_t* address, uint32_t value, uint32_t compare, Where where) {
  return update(kind, address, value, compare, where);
}
int64_t atomic(Atomic kind, long long* address, long long value, long long compare, Where where) {
  return update(kind, address, value, compare, where);
}
uint64_t atomic(Atomic kind, unsigned long long* address, unsigned long long value, unsigned long long compare,
                Where where) {
  return update(kind, address, value, compare, where);
}

}  // namespace zo2::emu
