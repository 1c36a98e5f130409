// From log-probabilities or logits to the losses and the coefficients of a step, in fp64.
#pragma once

#include "contract/commands.h"

namespace zo2::cpu {

// Adds the summed loss of a micro-batch to the loss of its probe, or replaces that when `first` is set. The sum is
// taken in batch order, over targets or examples (zo2_loss_kind). Throws Failure(INVALID_ARGUMENT) for a range outside
// its table, an empty one, a label that is no choice of its example, or a position that is none of its rows.
void run_loss(const contract::LossCommand& command);

// Divides the losses by `total`, and writes the difference quotient of each direction and whether it is finite; where
// one is not, raises NOT_FINITE with `step`, unless a flag was raised before.
void run_gradient(const contract::GradientCommand& command);

}  // namespace zo2::cpu
