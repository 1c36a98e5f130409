// The table of one flavour. Compiled once per flavour: see simd.h.
#pragma once

#include "cpu/ops/product_impl.h"
#include "cpu/ops/rows_impl.h"
#include "cpu/ops/softmax_impl.h"

namespace zo2::cpu::ZO2_ISA {

constexpr OpKernels kKernels = {
    ZO2_SIMD_AVX2 ? "avx2" : "generic",
    widen,
    narrow,
    kPanelRows,
    kPanelColumns,
    pack_left,
    pack_right,
    pack_right_transposed,
    multiply_panels,
    thin_product,
    finish_linear,
    add,
    scale,
    layer_norm,
    rms_norm,
    gated_activation,
    rotate,
    row_maximum,
    exponential_sum,
    softmax_block,
};

}  // namespace zo2::cpu::ZO2_ISA
