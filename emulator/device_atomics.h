// Atomics on 32- and 64-bit integers. Included by device.h alone. There are none on floats: their sums depend on the
// order.
#pragma once

namespace zo2::emu {

enum class Atomic { kAdd, kMinimum, kMaximum, kOr, kAnd, kExchange, kCompareAndSwap };

int32_t atomic(Atomic kind, int32_t* address, int32_t value, int32_t compare, Where where);
uint32_t atomic(Atomic kind, uint32_t* address, uint32_t value, uint32_t compare, Where where);
int64_t atomic(Atomic kind, long long* address, long long value, long long compare, Where where);
uint64_t atomic(Atomic kind, unsigned long long* address, unsigned long long value, unsigned long long compare,
                Where where);

}  // namespace zo2::emu

#define ZO2_EMU_ATOMIC(T, name, kind)                                                                          \
  inline T name(T* address, T value, zo2::emu::Where where = {}) {                                             \
    return static_cast<T>(zo2::emu::atomic(zo2::emu::Atomic::kind, address, value, static_cast<T>(0), where)); \
  }
#define ZO2_EMU_ATOMICS(T)               \
  ZO2_EMU_ATOMIC(T, atomicMin, kMinimum) \
  ZO2_EMU_ATOMIC(T, atomicMax, kMaximum) \
  ZO2_EMU_ATOMIC(T, atomicOr, kOr)       \
  ZO2_EMU_ATOMIC(T, atomicAnd, kAnd)
#define ZO2_EMU_ATOMIC_WORDS(T)                                                                                 \
  ZO2_EMU_ATOMIC(T, atomicAdd, kAdd)                                                                            \
  ZO2_EMU_ATOMIC(T, atomicExch, kExchange)                                                                      \
  inline T atomicCAS(T* address, T compare, T value, zo2::emu::Where where = {}) {                              \
    return static_cast<T>(zo2::emu::atomic(zo2::emu::Atomic::kCompareAndSwap, address, value, compare, where)); \
  }
ZO2_EMU_ATOMICS(int)
ZO2_EMU_ATOMICS(unsigned)
ZO2_EMU_ATOMICS(long long)
ZO2_EMU_ATOMICS(unsigned long long)
ZO2_EMU_ATOMIC_WORDS(int)
ZO2_EMU_ATOMIC_WORDS(unsigned)
ZO2_EMU_ATOMIC_WORDS(unsigned long long)
#undef ZO2_EMU_ATOMIC_WORDS
#undef ZO2_EMU_ATOMICS
#undef ZO2_EMU_ATOMIC

float atomicAdd(float*, float) = delete;
double atomicAdd(double*, double) = delete;
