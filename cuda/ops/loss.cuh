// From log-probabilities or logits to the losses and the coefficients of a step, in fp64 on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "contract/commands.h"
#include "cuda/launch.h"

namespace zo2::cuda {

// Adds the summed loss of a micro-batch to the loss of its probe, or replaces that when `first` is set. The sum is
// taken in batch order, over targets or examples (zo2_loss_kind); TOKENS and SQUARED give the bits of the CPU backend,
// the others go through exp and log. Where there are examples, the check of the tables comes first: faults
// kExampleRange, kLabel and kChoiceRange of choices, kSpanRange and kSpanPosition of spans, that of the first example
// in the batch. The result is that of the launches.
cudaError_t launch_loss(const Launch& launch, const contract::LossCommand& command);

// Divides the losses by `total`, and writes the difference quotient of each direction and whether it is finite; where
// one is not, raises NOT_FINITE with `step`, unless a flag was raised before. The result is that of the launch.
cudaError_t launch_gradient(const Launch& launch, const contract::GradientCommand& command);

}  // namespace zo2::cuda
