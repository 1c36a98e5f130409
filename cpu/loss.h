// From log-probabilities to the losses and the projected gradient of a step, in fp64.
#pragma once

#include <cstdint>

#include "zo2.h"

namespace zo2::cpu {

// The targets of one micro-batch, and how they form examples; as in zo2_loss_args, resolved.
struct LossTables {
  zo2_loss_kind kind;
  const float* logprobs;    // [targets]
  uint64_t targets;
  const int32_t* choices;   // [choice_count, 2]; unused for TOKENS
  uint64_t choice_count;
  const int32_t* examples;  // [example_count, 3]; unused for TOKENS
  uint64_t example_count;
};

// The summed loss of a micro-batch, added in batch order: over targets, or over examples the cross entropy of the choices' scores at the
// label. Throws Failure(INVALID_ARGUMENT) for a range outside its table, an empty one, or a label that is no choice of its example.
double summed_loss(const LossTables& tables);

// Divides both losses by `total`, and writes g = fp32((L+ - L-) / (2 eps)) (the SPSA estimate of MeZO, arXiv 2305.17333) and whether it is
// finite; if it is not, raises NOT_FINITE with `step`, unless a flag was raised before.
void finish_gradient(zo2_step_state* state, double total, double eps, uint32_t step, zo2_sticky* sticky);

}  // namespace zo2::cpu
