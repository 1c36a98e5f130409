// From log-probabilities or logits to the losses and the projected gradient of a step, in fp64.
#pragma once

#include <cstdint>

#include "contract/commands.h"
#include "contract/zo2.h"

namespace zo2::cpu {

// The summed loss of a micro-batch, added in batch order over targets or examples: see zo2_loss_kind. Throws
// Failure(INVALID_ARGUMENT) for a range outside its table, an empty one, a label that is no choice of its example, or a
// position that is none of its rows.
double summed_loss(const contract::LossCommand& command);

// Divides both losses by `total`, and writes g = fp32((L+ - L-) / (2 eps)) (the SPSA estimate of MeZO, arXiv
// 2305.17333) and whether it is finite; if it is not, raises NOT_FINITE with `step`, unless a flag was raised before.
void finish_gradient(zo2_step_state* state, double total, double eps, uint32_t step, zo2_sticky* sticky);

}  // namespace zo2::cpu
