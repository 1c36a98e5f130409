#include "cuda/ops/loss.cuh"

#include "cuda/kernel.h"
#include "cuda/ops/raise.cuh"
#include "numerics/update.h"

namespace zo2::cuda {
namespace {

using contract::Fault;
using contract::FaultKind;
using contract::LossCommand;

constexpr uint64_t kPerLane = 8;
constexpr uint64_t kTile = 32 * kPerLane;

__device__ inline bool is_range(const int32_t* range, uint64_t limit) {
  return range[0] >= 0 && range[1] > range[0] && static_cast<uint64_t>(range[1]) <= limit;
}

// What is wrong with an example, in the order in which it is read: its range, its label, its choices one by one.
__device__ inline bool example_fault(const LossCommand& c, uint64_t e, Fault* fault) {
  const int32_t* const example = c.examples + e * 3;
  if (!is_range(example, c.choice_count)) {
    *fault = {FaultKind::kExampleRange, 0, e, {example[0], example[1], static_cast<int64_t>(c.choice_count)}};
    return true;
  }
  if (example[2] < 0 || example[2] >= example[1] - example[0]) {
    *fault = {FaultKind::kLabel, 0, e, {example[2], example[1] - example[0]}};
    return true;
  }
  for (int32_t k = example[0]; k < example[1]; ++k) {
    const int32_t* const choice = c.choices + static_cast<int64_t>(k) * 2;
    if (is_range(choice, c.targets)) continue;
    *fault = {FaultKind::kChoiceRange, 0, static_cast<uint64_t>(k), {choice[0], choice[1], static_cast<int64_t>(c.targets)}};
    return true;
  }
  return false;
}

__global__ void __launch_bounds__(kCheckThreads) check_loss_kernel(FaultTarget target, LossCommand c) {
  if (already_raised(target)) return;
  check_rows(target, c.example_count, [=](uint64_t e, Fault* fault) { return example_fault(c, e, fault); });
}

// A tile of log-probabilities on its way from global to shared memory: the loads of the next tile are under way while one lane adds up this
// one, whose sum must follow the order of the batch.
__device__ inline void fetch(const LossCommand& c, uint64_t first, float (&held)[kPerLane]) {
#pragma unroll
  for (uint64_t k = 0; k < kPerLane; ++k) {
    const uint64_t i = first + k * 32 + threadIdx.x;
    held[k] = i < c.targets ? c.logprobs[i] : 0.0f;
  }
}

// The sum, in lane 0. One warp.
__device__ inline double tokens_loss(const LossCommand& c) {
  ZO2_SHARED_STATIC(float[kTile], tile);
  float held[kPerLane];
  fetch(c, 0, held);
  double loss = 0;
  for (uint64_t first = 0; first < c.targets; first += kTile) {
#pragma unroll
    for (uint64_t k = 0; k < kPerLane; ++k) tile[k * 32 + threadIdx.x] = held[k];
    __syncwarp();
    fetch(c, first + kTile, held);
    const uint64_t n = c.targets - first < kTile ? c.targets - first : kTile;
    if (threadIdx.x == 0) {
      for (uint64_t i = 0; i < n; ++i) loss -= static_cast<double>(tile[i]);
    }
    __syncwarp();
  }
  return loss;
}

__device__ inline double score(const LossCommand& c, int32_t choice) {
  const int32_t begin = c.choices[static_cast<int64_t>(choice) * 2], end = c.choices[static_cast<int64_t>(choice) * 2 + 1];
  double sum = 0;
  for (int32_t i = begin; i < end; ++i) sum += static_cast<double>(c.logprobs[i]);
  return c.kind == ZO2_LOSS_CHOICES_MEAN ? sum / (end - begin) : sum;
}

// -log softmax(scores)[label]. Scores are computed twice, because an example may have any number of choices and there is no place for them.
__device__ inline double example_loss(const LossCommand& c, uint64_t e) {
  const int32_t begin = c.examples[e * 3], end = c.examples[e * 3 + 1], label = c.examples[e * 3 + 2];
  double largest = score(c, begin);
  for (int32_t k = begin + 1; k < end; ++k) {
    const double candidate = score(c, k);
    if (largest < candidate) largest = candidate;
  }
  double sum = 0, labelled = 0;
  for (int32_t k = begin; k < end; ++k) {
    const double s = score(c, k);
    sum += exp(s - largest);
    if (k - begin == label) labelled = s;
  }
  return log(sum) + largest - labelled;
}

// The sum, in lane 0: each lane has an example, and lane 0 adds them up in batch order. One warp.
__device__ inline double choices_loss(const LossCommand& c) {
  ZO2_SHARED_STATIC(double[32], losses);
  double loss = 0;
  for (uint64_t first = 0; first < c.example_count; first += 32) {
    const uint64_t n = c.example_count - first < 32 ? c.example_count - first : 32;
    if (threadIdx.x < n) losses[threadIdx.x] = example_loss(c, first + threadIdx.x);
    __syncwarp();
    if (threadIdx.x == 0) {
      for (uint64_t i = 0; i < n; ++i) loss += losses[i];
    }
    __syncwarp();
  }
  return loss;
}

__global__ void __launch_bounds__(32) loss_kernel(LossCommand c, const uint32_t* poison) {
  if (*poison != 0) return;
  const double sum = c.kind == ZO2_LOSS_TOKENS ? tokens_loss(c) : choices_loss(c);
  if (threadIdx.x != 0) return;
  double& loss = c.minus ? c.state->loss_minus : c.state->loss_plus;
  loss = c.first ? sum : loss + sum;
}

__global__ void __launch_bounds__(1) gradient_kernel(contract::GradientCommand c, const uint32_t* poison) {
  if (*poison != 0) return;
  c.state->loss_plus = numerics::f64_div(c.state->loss_plus, c.total);
  c.state->loss_minus = numerics::f64_div(c.state->loss_minus, c.total);
  const float g = numerics::projected_gradient(c.state->loss_plus, c.state->loss_minus, c.eps);
  c.state->g = g;
  c.state->finite = numerics::f32_is_finite(g) ? 1 : 0;
  if (numerics::f32_is_finite(g)) return;
  if (c.sticky->flags == 0) c.sticky->step = c.step;
  c.sticky->flags |= ZO2_STICKY_NOT_FINITE;
}

}  // namespace

cudaError_t launch_loss(const Launch& launch, const LossCommand& command) {
  if (command.kind != ZO2_LOSS_TOKENS && command.example_count != 0) {
    const cudaError_t checked = ZO2_LAUNCH(check_loss_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), command);
    if (checked != cudaSuccess) return checked;
  }
  return ZO2_LAUNCH(loss_kernel, 1, 32, 0, launch.stream, command, launch.poison());
}

cudaError_t launch_gradient(const Launch& launch, const contract::GradientCommand& command) {
  return ZO2_LAUNCH(gradient_kernel, 1, 1, 0, launch.stream, command, launch.poison());
}

}  // namespace zo2::cuda
