#include "cpu/loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/contract.h"

namespace zo2::cpu {
namespace {

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
  for (int32_t i = range.begin; i < range.end; ++i) sum += static_cast<double>(t.logprobs[i]);
  return t.kind == ZO2_LOSS_CHOICES_MEAN ? sum / (range.end - range.begin) : sum;
}

// -log softmax(scores)[label]
double cross_entropy(const std::vector<double>& scores, size_t label) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double score : scores) sum += std::exp(score - largest);
  return std::log(sum) + largest - scores[label];
}

}  // namespace

double summed_loss(const contract::LossCommand& t) {
  double loss = 0;
  if (t.kind == ZO2_LOSS_TOKENS) {
    for (uint64_t i = 0; i < t.targets; ++i) loss -= static_cast<double>(t.logprobs[i]);
    return loss;
  }
  std::vector<double> scores;
  for (uint64_t e = 0; e < t.example_count; ++e) {
    const int32_t* const row = t.examples + e * 3;
    const IndexRange range = range_at(row, t.choice_count, FaultKind::kExampleRange, e);
    const int32_t label = row[2];
    if (label < 0 || label >= range.end - range.begin) fail_with({FaultKind::kLabel, 0, e, {label, range.end - range.begin}});
    scores.clear();
    for (int32_t c = range.begin; c < range.end; ++c) scores.push_back(score(t, static_cast<uint64_t>(c)));
    loss += cross_entropy(scores, static_cast<size_t>(label));
  }
  return loss;
}

void finish_gradient(zo2_step_state* state, double total, double eps, uint32_t step, zo2_sticky* sticky) {
  state->loss_plus /= total;
  state->loss_minus /= total;
  state->g = static_cast<float>((state->loss_plus - state->loss_minus) / (2 * eps));
  state->finite = std::isfinite(state->g) ? 1 : 0;
  if (state->finite == 1) return;
  if (sticky->flags == 0) sticky->step = step;
  sticky->flags |= ZO2_STICKY_NOT_FINITE;
}

}  // namespace zo2::cpu
