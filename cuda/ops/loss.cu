#include "cuda/ops/loss.cuh"

#include "cuda/kernel.h"
#include "cuda/ops/raise.cuh"
#include "cuda/ops/sticky.cuh"
#include "numerics/coefficients.h"

namespace zo2::cuda {
namespace {

using contract::Fault;
using contract::FaultKind;
using contract::kIgnored;
using contract::LossCommand;

constexpr int kGradientThreads = static_cast<int>(contract::kMaxDirections);
constexpr uint64_t kPerLane = 8;
constexpr uint64_t kTile = 32 * kPerLane;

__device__ inline bool is_range(const int32_t* range, uint64_t limit) {
  return range[0] >= 0 && range[1] > range[0] && static_cast<uint64_t>(range[1]) <= limit;
}

__host__ __device__ inline bool has_choices(const LossCommand& c) {
  return c.kind == ZO2_LOSS_CHOICES_MEAN || c.kind == ZO2_LOSS_CHOICES_SUM;
}

// What is wrong with an example of choices, in the order in which it is read: its range, its label, its choices one by
// one.
__device__ inline bool choices_fault(const LossCommand& c, uint64_t e, Fault* fault) {
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
    *fault = {
        FaultKind::kChoiceRange, 0, static_cast<uint64_t>(k), {choice[0], choice[1], static_cast<int64_t>(c.targets)}};
    return true;
  }
  return false;
}

// The same for an example of spans: its range, its start, its end.
__device__ inline bool spans_fault(const LossCommand& c, uint64_t e, Fault* fault) {
  const int32_t* const example = c.examples + e * 4;
  if (!is_range(example, c.targets / 2)) {
    *fault = {FaultKind::kSpanRange, 0, e, {example[0], example[1], static_cast<int64_t>(c.targets / 2)}};
    return true;
  }
  const int32_t rows = example[1] - example[0];
  for (int column = 0; column < 2; ++column) {
    const int32_t position = example[2 + column];
    if (position == kIgnored || (position >= 0 && position < rows)) continue;
    *fault = {FaultKind::kSpanPosition, 0, e, {column, position, rows}};
    return true;
  }
  return false;
}

__global__ void __launch_bounds__(kCheckThreads) check_loss_kernel(FaultTarget target, LossCommand c) {
  if (already_raised(target)) return;
  check_rows(target, c.example_count, [=](uint64_t e, Fault* fault) {
    return has_choices(c) ? choices_fault(c, e, fault) : spans_fault(c, e, fault);
  });
}

// A tile of values on its way from global to shared memory: the loads of the next tile are under way while one lane
// adds up this one, whose sum must follow the order of the batch.
__device__ inline void fetch(const LossCommand& c, uint64_t first, float (&held)[kPerLane]) {
#pragma unroll
  for (uint64_t k = 0; k < kPerLane; ++k) {
    const uint64_t i = first + k * 32 + threadIdx.x;
    held[k] = i < c.targets ? c.values[i] : 0.0f;
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
  const int32_t begin = c.choices[static_cast<int64_t>(choice) * 2],
                end = c.choices[static_cast<int64_t>(choice) * 2 + 1];
  double sum = 0;
  for (int32_t i = begin; i < end; ++i) sum += static_cast<double>(c.values[i]);
  return c.kind == ZO2_LOSS_CHOICES_MEAN ? sum / (end - begin) : sum;
}

// -log softmax(scores)[label]. Scores are computed twice, because an example may have any number of choices and there
// is no place for them.
__device__ inline double choices_loss(const LossCommand& c, uint64_t e) {
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

__device__ inline double binary_loss(const LossCommand& c, uint64_t i) {
  const double x = c.values[i], y = c.labels[i];
  // fmax would turn a logit that is NaN into 0.
  return (x < 0 ? 0 : x) - x * y + log1p(exp(-fabs(x)));
}

__device__ inline double squared_loss(const LossCommand& c, uint64_t i) {
  const double difference = static_cast<double>(c.values[i]) - static_cast<double>(c.labels[i]);
  return difference * difference;
}

// The cross entropy of one column (0: start, 1: end) of an example's rows at its position; 0 where that is ignored.
__device__ inline double position_loss(const LossCommand& c, uint64_t e, int column) {
  const int32_t* const example = c.examples + e * 4;
  const int32_t position = example[2 + column];
  if (position == kIgnored) return 0;
  const float* const logits = c.values + static_cast<int64_t>(example[0]) * 2 + column;
  const int64_t rows = example[1] - example[0];
  double largest = logits[0];
  for (int64_t r = 1; r < rows; ++r) {
    const double logit = logits[r * 2];
    if (largest < logit) largest = logit;
  }
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += exp(static_cast<double>(logits[r * 2]) - largest);
  return log(sum) + largest - static_cast<double>(logits[static_cast<int64_t>(position) * 2]);
}

__device__ inline double spans_loss(const LossCommand& c, uint64_t e) {
  return (position_loss(c, e, 0) + position_loss(c, e, 1)) / 2;
}

// The sum of term(0) .. term(count - 1), in lane 0: each lane has a term, and lane 0 adds them up in batch order. One
// warp.
template <class Term>
__device__ inline double summed(uint64_t count, const Term& term) {
  ZO2_SHARED_STATIC(double[32], losses);
  double loss = 0;
  for (uint64_t first = 0; first < count; first += 32) {
    const uint64_t n = count - first < 32 ? count - first : 32;
    if (threadIdx.x < n) losses[threadIdx.x] = term(first + threadIdx.x);
    __syncwarp();
    if (threadIdx.x == 0) {
      for (uint64_t i = 0; i < n; ++i) loss += losses[i];
    }
    __syncwarp();
  }
  return loss;
}

__device__ inline double summed_loss(const LossCommand& c) {
  switch (c.kind) {
    case ZO2_LOSS_TOKENS:
      return tokens_loss(c);
    case ZO2_LOSS_BINARY:
      return summed(c.targets, [&](uint64_t i) { return binary_loss(c, i); });
    case ZO2_LOSS_SQUARED:
      return summed(c.targets, [&](uint64_t i) { return squared_loss(c, i); });
    case ZO2_LOSS_SPANS:
      return summed(c.example_count, [&](uint64_t e) { return spans_loss(c, e); });
    default:
      return summed(c.example_count, [&](uint64_t e) { return choices_loss(c, e); });
  }
}

__global__ void __launch_bounds__(32) loss_kernel(LossCommand c, const uint32_t* poison) {
  if (*poison != 0) return;
  const double sum = summed_loss(c);
  if (threadIdx.x != 0) return;
  *c.loss = c.first ? sum : *c.loss + sum;
}

// One thread for each direction.
__global__ void __launch_bounds__(kGradientThreads)
    gradient_kernel(const __grid_constant__ contract::GradientCommand c, const uint32_t* poison) {
  if (*poison != 0) return;
  for (uint32_t p = threadIdx.x; p < c.probe_count; p += kGradientThreads)
    c.losses[p] = numerics::f64_div(c.losses[p], c.total);
  __syncthreads();
  bool finite = true;
  if (threadIdx.x < c.direction_count) {
    const float value = numerics::coefficient_of(c, ZO2_NO_PROBE, threadIdx.x);
    finite = numerics::f32_is_finite(value);
    c.coefficients[threadIdx.x] = {value, finite ? 1u : 0u};
  }
  if (__syncthreads_and(finite ? 1 : 0) != 0 || threadIdx.x != 0) return;
  raise_sticky(c.sticky, ZO2_STICKY_NOT_FINITE, c.step);
}

}  // namespace

cudaError_t launch_loss(const Launch& launch, const LossCommand& command) {
  if (command.example_count != 0) {
    const cudaError_t checked =
        ZO2_LAUNCH(check_loss_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), command);
    if (checked != cudaSuccess) return checked;
  }
  return ZO2_LAUNCH(loss_kernel, 1, 32, 0, launch.stream, command, launch.poison());
}

cudaError_t launch_gradient(const Launch& launch, const contract::GradientCommand& command) {
  return ZO2_LAUNCH(gradient_kernel, 1, kGradientThreads, 0, launch.stream, command, launch.poison());
}

}  // namespace zo2::cuda
