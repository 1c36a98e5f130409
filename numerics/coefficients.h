// From the losses of a step's probes to the coefficient of each direction. Sums follow the order of the probes.
#pragma once

#include <stdint.h>

#include "numerics/ops.h"

namespace zo2::numerics {

// What a loss becomes before differences are taken: `zo2_shaping`.
enum class Shaping : uint32_t { kNone, kZscore, kRank };

// Of the directions' losses, and of those that are z-scored: none is divided by 0.
constexpr double kZscoreFloor = 1e-8;

struct Moments {
  double mean;       // of what the losses are above the first
  double deviation;  // root of the squares' sum over count - freedom, or over 1
};

// The losses are counted from the first of them: equal ones deviate by 0, to whatever their sum would be rounded.
template <class LossAt>
ZO2_HD static inline Moments moments_of(uint32_t count, uint32_t freedom, const LossAt& loss_at) {
  const double first = loss_at(0);
  double sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum = f64_add(sum, f64_sub(loss_at(i), first));
  const double mean = f64_div(sum, static_cast<double>(count));
  double squares = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const double above = f64_sub(f64_sub(loss_at(i), first), mean);
    squares = f64_add(squares, f64_mul(above, above));
  }
  const uint32_t over = count > freedom ? count - freedom : 1;
  return {mean, f64_sqrt(f64_div(squares, static_cast<double>(over)))};
}

// (loss - mean) / (population deviation + 1e-8)
ZO2_HD static inline double zscore(const double* losses, uint32_t count, uint32_t probe) {
  const Moments m = moments_of(count, 0, [=](uint32_t i) { return losses[i]; });
  return f64_div(f64_sub(f64_sub(losses[probe], losses[0]), m.mean), f64_add(m.deviation, kZscoreFloor));
}

// rank / (count - 1) - 1/2 with ranks from 0; equal losses share the mean of theirs. Not finite where a loss is not,
// which no order would tell.
ZO2_HD static inline double centred_rank(const double* losses, uint32_t count, uint32_t probe) {
  uint32_t below = 0, equal = 0;
  double finite = 0;
  for (uint32_t i = 0; i < count; ++i) {
    below += losses[i] < losses[probe] ? 1 : 0;
    equal += losses[i] == losses[probe] ? 1 : 0;
    finite = f64_add(finite, f64_sub(losses[i], losses[i]));
  }
  const double rank = f64_mul(static_cast<double>(2 * below + equal - 1), 0.5);
  return f64_add(f64_sub(f64_div(rank, static_cast<double>(count - 1)), 0.5), finite);
}

ZO2_HD static inline double shaped_loss(Shaping shaping, const double* losses, uint32_t count, uint32_t probe) {
  switch (shaping) {
    case Shaping::kZscore:
      return zscore(losses, count, probe);
    case Shaping::kRank:
      return centred_rank(losses, count, probe);
    default:
      return losses[probe];
  }
}

// (minuend - subtrahend) / divisor
ZO2_HD static inline double difference_quotient(double minuend, double subtrahend, double divisor) {
  return f64_div(f64_sub(minuend, subtrahend), divisor);
}

// By the deviation of the directions' losses; 0 where they do not differ, and not finite where the quotient is not.
ZO2_HD static inline double normalised(double quotient, double deviation) {
  return deviation == 0 ? f64_sub(quotient, quotient) : f64_div(quotient, deviation);
}

// The coefficient of direction `d` by a `contract::GradientCommand` whose losses are divided already. `no_probe`: the
// subtrahend of a difference that has none.
template <class Command>
ZO2_HD static inline float coefficient_of(const Command& c, uint32_t no_probe, uint32_t d) {
  const auto shaped = [&](uint32_t probe) {
    return shaped_loss(static_cast<Shaping>(c.shaping), c.losses, c.probe_count, probe);
  };
  const auto& difference = c.differences[d];
  const double subtrahend = difference.subtrahend == no_probe ? 0 : shaped(difference.subtrahend);
  const double quotient = difference_quotient(shaped(difference.minuend), subtrahend, c.divisor);
  if (!c.normalised) return f32_from_f64(quotient);
  const auto minuend_at = [&](uint32_t i) { return c.losses[c.differences[i].minuend]; };
  return f32_from_f64(normalised(quotient, moments_of(c.direction_count, 1, minuend_at).deviation));
}

}  // namespace zo2::numerics
