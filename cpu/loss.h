// From log-probabilities to the losses and the projected gradient of a step, in fp64.
#pragma once

#include <cstdint>

#include "contract/commands.h"
#include "zo2.h"

namespace zo2::cpu {

// The summed loss of a micro-batch, added in batch order: over targets, or over examples the cross entropy of the choices' scores at the
// label. Throws Failure(INVALID_ARGUMENT) for a range outside its table, an empty one, or a label that is no choice of its example.
double summed_loss(const contract::LossCommand& command);

// Divides both losses by `total`, and writes g = fp32((L+ - L-) / (2 eps)) (the SPSA estimate of MeZO, arXiv 2305.17333) and whether it is
// finite; if it is not, raises NOT_FINITE with `step`, unless a flag was raised before.
void finish_gradient(zo2_step_state* state, double total, double eps, uint32_t step, zo2_sticky* sticky);

}  // namespace zo2::cpu
