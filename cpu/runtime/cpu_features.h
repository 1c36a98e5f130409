// Which vector instructions this processor and its operating system offer, asked at run time.
#pragma once

namespace zo2::cpu {

// AVX2, FMA and F16C, and an operating system that saves the ymm registers. False on processors other than x86.
bool has_avx2_fma_f16c();

}  // namespace zo2::cpu
