// From log-probabilities or logits to the losses and the projected gradient of a step, in fp64.
#pragma once

#include "contract/commands.h"

namespace zo2::cpu {

// Adds the summed loss of a micro-batch to loss_plus or loss_minus of command.state, or replaces that when `first` is
// set. The sum is taken in batch order, over targets or examples (zo2_loss_kind). Throws Failure(INVALID_ARGUMENT) for
// a range outside its table, an empty one, a label that is no choice of its example, or a position that is none of its
// rows.
void run_loss(const contract::LossCommand& command);

// Divides both losses by `total`, and writes g = fp32((L+ - L-) / (2 eps)) (the SPSA estimate of MeZO, arXiv
// 2305.17333) and whether it is finite; if it is not, raises NOT_FINITE with `step`, unless a flag was raised before.
void run_gradient(const contract::GradientCommand& command);

}  // namespace zo2::cpu
