#include "cpu/runtime/cpu_features.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace zo2::cpu {

#if defined(__x86_64__) || defined(__i386__)

namespace {

constexpr unsigned kFma = 1u << 12;      // leaf 1, ecx
constexpr unsigned kOsxsave = 1u << 27;  // leaf 1, ecx: xgetbv may be executed
constexpr unsigned kAvx = 1u << 28;      // leaf 1, ecx
constexpr unsigned kF16c = 1u << 29;     // leaf 1, ecx
constexpr unsigned kAvx2 = 1u << 5;      // leaf 7, ebx
constexpr unsigned kXmmYmm = 0x6;        // XCR0: xmm and ymm state are saved

bool detect() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const unsigned wanted = kFma | kOsxsave | kAvx | kF16c;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & wanted) != wanted) return false;
  unsigned xcr0 = 0, high = 0;
  asm volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  if ((xcr0 & kXmmYmm) != kXmmYmm) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & kAvx2) != 0;
}

}  // namespace

bool has_avx2_fma_f16c() {
  static const bool present = detect();
  return present;
}

#else

bool has_avx2_fma_f16c() { return false; }

#endif

}  // namespace zo2::cpu
