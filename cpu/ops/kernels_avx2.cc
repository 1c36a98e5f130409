// The AVX2 flavour. Compiled with -mavx2 -mfma -mf16c on x86; on other processors this file is empty.
#if defined(__x86_64__) || defined(_M_X64)

#define ZO2_ISA avx2
#include "cpu/ops/kernels_impl.h"

namespace zo2::cpu {

const OpKernels& op_kernels_avx2() { return avx2::kKernels; }

}  // namespace zo2::cpu

#endif
