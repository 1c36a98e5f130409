// From log-probabilities or logits to the losses and the projected gradient of a step, in fp64 on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// Adds the summed loss of a micro-batch to loss_plus or loss_minus of command.state, or replaces that when `first` is
// set. The sum is taken in batch order, over targets or examples (zo2_loss_kind); TOKENS and SQUARED give the bits of
// the CPU backend, the others go through exp and log. Where there are examples, the check of the tables comes first:
// faults kExampleRange, kLabel and kChoiceRange of choices, kSpanRange and kSpanPosition of spans, that of the first
// example in the batch. The result is that of the launches.
cudaError_t launch_loss(const Launch& launch, const contract::LossCommand& command);

// Divides both losses by `total` and writes g = fp32((L+ - L-) / (2 eps)) (the SPSA estimate of MeZO, arXiv 2305.17333)
// and whether it is finite; if it is not, raises NOT_FINITE with `step`, unless a flag was raised before. The result is
// that of the launch.
cudaError_t launch_gradient(const Launch& launch, const contract::GradientCommand& command);

}  // namespace zo2::cuda
