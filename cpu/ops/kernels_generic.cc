// The generic flavour, and the choice between the two.
#define ZO2_ISA generic
#include "cpu/ops/kernels_impl.h"

namespace zo2::cpu {

#if defined(__x86_64__) || defined(_M_X64)
const OpKernels& op_kernels_avx2();  // kernels_avx2.cc

const OpKernels& op_kernels(bool vectorised) { return vectorised ? op_kernels_avx2() : generic::kKernels; }
#else
const OpKernels& op_kernels(bool) { return generic::kKernels; }
#endif

}  // namespace zo2::cpu
