// The names of the numbers of zo2.h, as messages write them.
#pragma once

#include "contract/zo2.h"

namespace zo2::contract {

inline constexpr const char* kDtypeNames[] = {"f32", "f16", "bf16", "i32"};
inline constexpr const char* kSpaceNames[ZO2_SPACES] = {"weights", "carried", "workspace",
                                                        "inputs",  "results", "cache"};
inline constexpr const char* kSymbolNames[ZO2_SYMBOLS] = {"rows",       "sequences",   "head rows", "targets",
                                                          "table rows", "prefix rows", "key rows"};

// By opcode, from 1.
inline constexpr const char* kOpNames[] = {nullptr,      "embed",        "linear",     "layerNorm", "attention",
                                           "gatherRows", "crossEntropy", "rmsNorm",    "rope",      "gatedActivation",
                                           "cast",       "transpose",    "scatterRows"};
inline constexpr int kLargestOpcode = ZO2_OP_SCATTER_ROWS;
static_assert(sizeof kOpNames / sizeof *kOpNames == kLargestOpcode + 1, "every opcode has a name");

}  // namespace zo2::contract
