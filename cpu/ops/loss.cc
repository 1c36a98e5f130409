#include "cpu/ops/loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "contract/fault.h"
#include "numerics/coefficients.h"

namespace zo2::cpu {

using numerics::Shaping;
static_assert(static_cast<int>(Shaping::kNone) == ZO2_SHAPING_NONE &&
                  static_cast<int>(Shaping::kZscore) == ZO2_SHAPING_ZSCORE &&
                  static_cast<int>(Shaping::kRank) == ZO2_SHAPING_RANK,
              "numerics/ has the contract's numbers");

namespace {

using contract::fail_with;
using contract::FaultKind;
using contract::kIgnored;

struct IndexRange {
  int32_t begin;
  int32_t end;
};

IndexRange range_at(const int32_t* row, uint64_t limit, FaultKind kind, uint64_t index) {
  const IndexRange range = {row[0], row[1]};
  if (range.begin < 0 || range.end <= range.begin || static_cast<uint64_t>(range.end) > limit) {
    fail_with({kind, 0, index, {range.begin, range.end, static_cast<int64_t>(limit)}});
  }
  return range;
}

double score(const contract::LossCommand& t, uint64_t choice) {
  const IndexRange range = range_at(t.choices + choice * 2, t.targets, FaultKind::kChoiceRange, choice);
  double sum = 0;
  for (int32_t i = range.begin; i < range.end; ++i) sum += static_cast<double>(t.values[i]);
  return t.kind == ZO2_LOSS_CHOICES_MEAN ? sum / (range.end - range.begin) : sum;
}

double summed_tokens(const contract::LossCommand& t) {
  double loss = 0;
  for (uint64_t i = 0; i < t.targets; ++i) loss -= static_cast<double>(t.values[i]);
  return loss;
}

double summed_binary(const contract::LossCommand& t) {
  double loss = 0;
  for (uint64_t i = 0; i < t.targets; ++i) {
    const double x = t.values[i], y = t.labels[i];
    // std::max would turn a logit that is NaN into 0.
    loss += (x < 0 ? 0 : x) - x * y + std::log1p(std::exp(-std::fabs(x)));
  }
  return loss;
}

double summed_squares(const contract::LossCommand& t) {
  double loss = 0;
  for (uint64_t i = 0; i < t.targets; ++i) {
    const double difference = static_cast<double>(t.values[i]) - static_cast<double>(t.labels[i]);
    loss += difference * difference;
  }
  return loss;
}

// -log softmax(scores)[label]
double cross_entropy(const std::vector<double>& scores, size_t label) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double score : scores) sum += std::exp(score - largest);
  return std::log(sum) + largest - scores[label];
}

double summed_choices(const contract::LossCommand& t) {
  double loss = 0;
  std::vector<double> scores;
  for (uint64_t e = 0; e < t.example_count; ++e) {
    const int32_t* const row = t.examples + e * 3;
    const IndexRange range = range_at(row, t.choice_count, FaultKind::kExampleRange, e);
    const int32_t label = row[2];
    if (label < 0 || label >= range.end - range.begin)
      fail_with({FaultKind::kLabel, 0, e, {label, range.end - range.begin}});
    scores.clear();
    for (int32_t c = range.begin; c < range.end; ++c) scores.push_back(score(t, static_cast<uint64_t>(c)));
    loss += cross_entropy(scores, static_cast<size_t>(label));
  }
  return loss;
}

// The cross entropy of one column (0: start, 1: end) of an example's rows at its position; 0 where that is ignored.
double position_loss(const contract::LossCommand& t, uint64_t example, const IndexRange& rows, int column) {
  const int32_t position = t.examples[example * 4 + 2 + static_cast<uint64_t>(column)];
  if (position == kIgnored) return 0;
  const int32_t count = rows.end - rows.begin;
  if (position < 0 || position >= count) fail_with({FaultKind::kSpanPosition, 0, example, {column, position, count}});
  std::vector<double> scores;
  for (int64_t r = rows.begin; r < rows.end; ++r) scores.push_back(t.values[r * 2 + column]);
  return cross_entropy(scores, static_cast<size_t>(position));
}

double summed_spans(const contract::LossCommand& t) {
  double loss = 0;
  for (uint64_t e = 0; e < t.example_count; ++e) {
    const IndexRange rows = range_at(t.examples + e * 4, t.targets / 2, FaultKind::kSpanRange, e);
    const double start = position_loss(t, e, rows, 0), end = position_loss(t, e, rows, 1);
    loss += (start + end) / 2;
  }
  return loss;
}

double summed_loss(const contract::LossCommand& t) {
  switch (t.kind) {
    case ZO2_LOSS_TOKENS:
      return summed_tokens(t);
    case ZO2_LOSS_BINARY:
      return summed_binary(t);
    case ZO2_LOSS_SQUARED:
      return summed_squares(t);
    case ZO2_LOSS_SPANS:
      return summed_spans(t);
    default:
      return summed_choices(t);
  }
}

}  // namespace

void run_loss(const contract::LossCommand& command) {
  const double sum = summed_loss(command);
  *command.loss = command.first ? sum : *command.loss + sum;
}

void run_gradient(const contract::GradientCommand& command) {
  for (uint32_t p = 0; p < command.probe_count; ++p) command.losses[p] /= command.total;
  bool finite = true;
  for (uint32_t d = 0; d < command.direction_count; ++d) {
    const float value = numerics::coefficient_of(command, ZO2_NO_PROBE, d);
    const bool good = numerics::f32_is_finite(value);
    command.coefficients[d] = {value, good ? 1u : 0u};
    finite = finite && good;
  }
  if (finite) return;
  if (command.sticky->flags == 0) command.sticky->step = command.step;
  command.sticky->flags |= ZO2_STICKY_NOT_FINITE;
}

}  // namespace zo2::cpu
