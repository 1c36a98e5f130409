// The commands, through the table: what they check when they are enqueued, what they do, what fails while they run.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <string>

#include "rig.h"

using zo2::test::Rig;

namespace {

constexpr zo2_span kNone = {nullptr, 0};

bool contains(const zo2_error& error, const char* text) { return strstr(error.message, text) != nullptr; }

// Whether `status` is INVALID_ARGUMENT with a message that has `text` in it.
bool invalid(const Rig& rig, zo2_status status, const char* text) {
  return CHECK(status == ZO2_STATUS_INVALID_ARGUMENT && contains(rig.error, text),
               "status %d, \"%s\" should have \"%s\"", static_cast<int>(status), rig.error.message, text);
}

std::vector<uint8_t> counting(size_t count) {
  std::vector<uint8_t> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<uint8_t>(i);
  return values;
}

void copies_fills_and_gathers_put_bytes_where_they_belong() {
  Rig rig;
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const source = rig.on_device(stream, counting(64));
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_DEVICE, 64);
  rig.ok(rig.table->fill(stream, {out, 0}, 255, 64, &rig.error));
  rig.ok(rig.table->copy(stream, {out, 3}, {source, 10}, 5, &rig.error));
  rig.ok(rig.table->copy(stream, {out, 64}, {source, 64}, 0, &rig.error));
  rig.ok(rig.table->fill(stream, {out, 64}, 1, 0, &rig.error));
  // Rows 20.. of 4 bytes each lie at byte 8 of the source.
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{99, 22, 20, 33});
  rig.ok(rig.table->gather(stream, {out, 20}, {source, 8}, {rows, 4}, 3, 20, 4, &rig.error));
  rig.ok(rig.table->gather(stream, {out, 64}, {source, 8}, {rows, 16}, 0, 20, 4, &rig.error));
  std::vector<uint8_t> expected(64, 255);
  for (int i = 0; i < 5; ++i) expected[static_cast<size_t>(3 + i)] = static_cast<uint8_t>(10 + i);
  const int starts[3] = {16, 8, 60};
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 4; ++i) expected[static_cast<size_t>(20 + row * 4 + i)] = static_cast<uint8_t>(starts[row] + i);
  }
  CHECK(rig.read<uint8_t>(stream, out, 64) == expected);
  CHECK(rig.info().launches == 0);
}

// Aligned in both places, in none, and in places that are never aligned together; short, and longer than a grid.
void copies_within_host_memory_take_their_turn() {
  constexpr uint64_t kBytes = 40000;
  struct Case {
    uint64_t to, from, bytes;
  };
  for (const Case& c :
       {Case{0, 0, 32}, Case{3, 19, 5}, Case{3, 19, 33000}, Case{1, 2, 777}, Case{16, 0, 31}, Case{5, 5, 0}}) {
    Rig rig;
    zo2_stream* const stream = rig.stream("s");
    const std::vector<uint8_t> values = counting(kBytes);
    zo2_buffer* const source = rig.host(values);
    zo2_buffer* const out = rig.host(std::vector<uint8_t>(kBytes, 77));
    zo2_gate* const gate = rig.gate();
    std::vector<uint8_t> expected(kBytes, 77);
    const auto* const bytes = static_cast<const uint8_t*>(rig.table->buffer_host_pointer(out));
    rig.ok(rig.table->stream_hold(stream, gate, &rig.error));
    rig.ok(rig.table->copy(stream, {out, c.to}, {source, c.from}, c.bytes, &rig.error));
    CHECK(std::equal(expected.begin(), expected.end(), bytes), "copied before its turn");
    rig.table->gate_open(gate);
    CHECK(rig.finish(stream).status == ZO2_OK);
    for (uint64_t i = 0; i < c.bytes; ++i) expected[c.to + i] = values[c.from + i];
    CHECK(std::equal(expected.begin(), expected.end(), bytes), "%llu bytes", static_cast<unsigned long long>(c.bytes));
  }
}

void rows_may_overlap_nothing_and_lie_inside_their_source() {
  for (const int32_t bad : {19, 34, -5}) {
    Rig rig;
    zo2_stream* const stream = rig.stream("gathering");
    zo2_buffer* const source = rig.buffer(ZO2_BUFFER_HOST, 64);
    zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 64);
    zo2_buffer* const rows = rig.host(std::vector<int32_t>{20, bad});
    rig.ok(rig.table->gather(stream, {out, 0}, {source, 8}, {rows, 0}, 2, 20, 4, &rig.error));
    const zo2_error error = rig.finish(stream);
    const std::string expected = "rows[1] is " + std::to_string(bad) + ", but the source holds 14 rows from row 20 on";
    CHECK(error.status == ZO2_STATUS_INVALID_ARGUMENT && contains(error, expected.c_str()), "%s", error.message);
  }
  Rig rig;
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const both = rig.buffer(ZO2_BUFFER_HOST, 64);
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{3});
  rig.ok(rig.table->gather(stream, {both, 14}, {both, 0}, {rows, 0}, 1, 0, 4, &rig.error));
  CHECK(contains(rig.finish(stream), "overlap"));
}

void transfers_outside_their_buffers_are_refused_before_anything_is_enqueued() {
  Rig rig;
  const zo2_backend& t = *rig.table;
  zo2_error* const e = &rig.error;
  zo2_stream* const s = rig.stream("s");
  zo2_buffer* const a = rig.buffer(ZO2_BUFFER_DEVICE, 100);
  zo2_buffer* const b = rig.buffer(ZO2_BUFFER_HOST, 100);
  invalid(rig, t.copy(s, {a, 1}, {b, 0}, 100, e), "dst needs 100 bytes from offset 1 on, but its buffer has 100");
  invalid(rig, t.copy(s, {a, 0}, {b, 101}, 0, e), "src needs 0 bytes from offset 101");
  invalid(rig, t.copy(s, {a, UINT64_MAX}, {b, 0}, 8, e), "dst needs");
  invalid(rig, t.copy(s, {a, 0}, {b, 0}, UINT64_MAX, e), "dst needs");
  invalid(rig, t.copy(s, kNone, {b, 0}, 1, e), "dst is none");
  invalid(rig, t.copy(s, {a, 0}, {a, 9}, 10, e), "overlap");
  invalid(rig, t.copy(nullptr, {a, 0}, {b, 0}, 1, e), "stream is null");
  invalid(rig, t.fill(s, {a, 50}, 0, 51, e), "dst needs 51 bytes");
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{0, 0});
  invalid(rig, t.gather(s, {a, 0}, {b, 0}, {rows, 0}, 3, 0, 4, e), "rows needs 12 bytes");
  invalid(rig, t.gather(s, {a, 0}, {b, 0}, {rows, 0}, 2, 0, 51, e), "dst needs 102 bytes");
  invalid(rig, t.gather(s, {a, 0}, {b, 0}, {rows, 1}, 1, 0, 4, e), "no multiple of 4");
  invalid(rig, t.gather(s, {a, 0}, {b, 0}, {rows, 0}, 1, 0, 0, e), "row_bytes is 0");
  invalid(rig, t.gather(s, {a, 0}, {b, 0}, {rows, 0}, UINT64_MAX / 2, 0, 64, e), "more than 2^64 bytes");
  invalid(rig, t.gather(s, {b, 0}, {b, 0}, {a, 0}, 1, 0, 4, e), "rows is a device buffer, but must be host memory");
  CHECK(rig.finish(s).status == ZO2_OK);
  CHECK(rig.info().commands == 0);
}

// ---- loss and gradient ----------------------------------------------------------------------------------------------

struct Losses {
  Rig rig;
  zo2_stream* const stream = rig.stream("compute");
  // Beside those of two probes, one of which nothing knows.
  zo2_buffer* const losses = rig.on_device(stream, std::vector<double>{111, 222, 333});
  zo2_buffer* const coefficients = rig.on_device(stream, std::vector<zo2_coefficient>{{-7, 9}, {-8, 9}});
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});

  void add(zo2_loss_kind kind, const std::vector<float>& logprobs, const std::vector<int32_t>& choices,
           const std::vector<int32_t>& examples, uint32_t probe, uint32_t first,
           const std::vector<float>& labels = {}) {
    zo2_loss_args args = {};
    args.kind = kind;
    args.values = {rig.on_device(stream, logprobs), 0};
    args.targets = logprobs.size();
    if (!choices.empty()) args.choices = {rig.on_device(stream, choices), 0};
    args.choice_count = choices.size() / 2;
    if (!examples.empty()) args.examples = {rig.on_device(stream, examples), 0};
    args.example_count = examples.size() / (kind == ZO2_LOSS_SPANS ? 4 : 3);
    if (!labels.empty()) args.labels = {rig.on_device(stream, labels), 0};
    args.losses = {losses, 0};
    args.probe = probe;
    args.first = first;
    rig.launched(rig.table->loss(stream, &args, &rig.error));
  }

  // Of two probes, along one direction.
  void gradient(double total, double divisor, uint32_t step) {
    static constexpr zo2_difference kDifference = {0, 1};
    const zo2_gradient_args args = {{losses, 0},       2,    total,      &kDifference, 1, divisor, ZO2_SHAPING_NONE, 0,
                                    {coefficients, 0}, step, {sticky, 0}};
    rig.launched(rig.table->gradient(stream, &args, &rig.error));
  }

  double loss(size_t probe) { return rig.read<double>(stream, losses, 3)[probe]; }
  zo2_coefficient coefficient(size_t direction) {
    return rig.read<zo2_coefficient>(stream, coefficients, 2)[direction];
  }
  zo2_sticky read_sticky() { return rig.read<zo2_sticky>(stream, sticky, 1)[0]; }
};

void token_losses_add_up_over_micro_batches() {
  Losses l;
  l.add(ZO2_LOSS_TOKENS, {-1, -2.5f, 0, -0.25f}, {}, {}, 0, 1);
  l.add(ZO2_LOSS_TOKENS, {-3}, {}, {}, 1, 1);
  l.add(ZO2_LOSS_TOKENS, {-0.5f}, {}, {}, 0, 0);
  l.add(ZO2_LOSS_TOKENS, {}, {}, {}, 0, 0);
  CHECK(l.loss(0) == 4.25 && l.loss(1) == 3.0);
  l.gradient(4, 1, 9);
  CHECK(l.loss(0) == 1.0625 && l.loss(1) == 0.75 && l.loss(2) == 333);
  CHECK(l.coefficient(0).value == 0.3125f && l.coefficient(0).finite == 1);
  CHECK(l.coefficient(1).value == -8 && l.coefficient(1).finite == 9, "there is one direction");
  CHECK(l.read_sticky().flags == 0);
  CHECK(l.rig.info().launches == 5);
}

void token_losses_are_summed_in_double_precision() {
  // In fp32 the ones vanish beside 2^24.
  std::vector<float> logprobs(1001, -1.0f);
  logprobs[0] = -16777216.0f;
  Losses l;
  l.add(ZO2_LOSS_TOKENS, logprobs, {}, {}, 0, 1);
  CHECK(l.loss(0) == 16777216.0 + 1000);
}

void choices_are_scored_by_mean_or_sum() {
  const std::vector<float> logprobs = {-1, -2, -3, -4, -5, -6};
  const std::vector<int32_t> choices = {0, 2, 2, 3, 3, 6, 0, 1};
  const std::vector<int32_t> examples = {0, 2, 1, 2, 4, 0};
  // Means: -1.5, -3, -5, -1. Sums: -3, -3, -15, -1.
  const auto entropy = [](double label, double other) { return log(exp(label) + exp(other)) - label; };
  Losses mean;
  mean.add(ZO2_LOSS_CHOICES_MEAN, logprobs, choices, examples, 1, 1);
  CHECK(fabs(mean.loss(1) - (entropy(-3, -1.5) + entropy(-5, -1))) < 1e-12);
  CHECK(mean.loss(0) == 111 && mean.loss(2) == 333, "the other probes are left alone");
  Losses sum;
  sum.add(ZO2_LOSS_CHOICES_SUM, logprobs, choices, examples, 0, 1);
  CHECK(fabs(sum.loss(0) - (entropy(-3, -3) + entropy(-15, -1))) < 1e-12);
  // Scores far below the range of exp.
  Losses far;
  far.add(ZO2_LOSS_CHOICES_SUM, {-5000, -5001}, {0, 1, 1, 2}, {0, 2, 1}, 0, 1);
  CHECK(fabs(far.loss(0) - (1 + log(1 + exp(-1)))) < 1e-9);
}

// In long double, and without the forms that keep the kernels from overflowing.
long double binary_entropy(long double x, long double y) {
  return y * logl(1 + expl(-x)) + (1 - y) * logl(1 + expl(x));
}

void logits_have_the_binary_entropy_of_their_labels() {
  const std::vector<float> logits = {0, 1, -1, 8.5f, -8.5f, 1e-6f, -40, 40, 700, -700, 700, -700, 3};
  const std::vector<float> labels = {1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0.25f};
  long double expected = 0;
  for (size_t i = 0; i < logits.size(); ++i) expected += binary_entropy(logits[i], labels[i]);
  Losses l;
  l.add(ZO2_LOSS_BINARY, logits, {}, {}, 1, 1, labels);
  CHECK(fabs(l.loss(1) - static_cast<double>(expected)) < 1e-12, "%.17g", l.loss(1));
  CHECK(l.loss(0) == 111, "the other probes are left alone");
  // One by one, so that no large term hides a small one; 1e30 is far beyond what exp takes.
  const struct {
    float x, y;
    double expected;
  } cases[] = {{40, 1, 4.248354255291589e-18},
               {-40, 0, 4.248354255291589e-18},
               {1e30f, 1, 0},
               {1e30f, 0, static_cast<double>(1e30f)},
               {-1e30f, 1, static_cast<double>(1e30f)},
               {-700, 0, static_cast<double>(expl(-700))}};
  for (const auto& one : cases) {
    Losses single;
    single.add(ZO2_LOSS_BINARY, {one.x}, {}, {}, 0, 1, {one.y});
    const double got = single.loss(0);
    CHECK(fabs(got - one.expected) <= 1e-13 * fabs(one.expected), "logit %g, label %g: %.17g",
          static_cast<double>(one.x), static_cast<double>(one.y), got);
  }
  Losses spoiled;
  spoiled.add(ZO2_LOSS_BINARY, {1, NAN, 1}, {}, {}, 0, 1, {1, 1, 1});
  CHECK(isnan(spoiled.loss(0)));
}

void squares_are_summed_in_double_precision_and_in_order() {
  // The square of the first does not fit fp32, and beside it those of the others would vanish there.
  std::vector<float> values(70, 3.0f), labels(70, 1.0f);
  values[0] = 1e20f;
  labels[0] = -1e20f;
  values[1] = 16777216.0f;
  labels[1] = -1.0f;
  Losses l;
  l.add(ZO2_LOSS_SQUARED, values, {}, {}, 0, 1, labels);
  double expected = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - static_cast<double>(labels[i]);
    expected += difference * difference;
  }
  CHECK(l.loss(0) == expected);
  l.add(ZO2_LOSS_SQUARED, {5, 2}, {}, {}, 0, 1, {2, 6});
  l.add(ZO2_LOSS_SQUARED, {}, {}, {}, 0, 0);
  l.add(ZO2_LOSS_SQUARED, {16777216.0f}, {}, {}, 0, 0, {-1});
  CHECK(l.loss(0) == 25 + 281475010265089.0, "fp32 would make 2^48 of (2^24 + 1)^2");
}

void spans_add_half_the_entropy_of_their_start_and_of_their_end() {
  // Rows of start and end logits; the second example is far out of the range of exp.
  const std::vector<float> values = {0.5f, 1, -1, 2, 3, -0.25f, 9, 9, 5000, -5000, 4999, -4990, 5001, -5000};
  const auto entropy = [&](int begin, int end, int column, int position) {
    long double largest = -INFINITY, sum = 0;
    for (int r = begin; r < end; ++r) largest = fmaxl(largest, values[static_cast<size_t>(2 * r + column)]);
    for (int r = begin; r < end; ++r) sum += expl(values[static_cast<size_t>(2 * r + column)] - largest);
    return static_cast<double>(logl(sum) + largest - values[static_cast<size_t>(2 * (begin + position) + column)]);
  };
  const struct {
    std::vector<int32_t> examples;
    double expected;
  } cases[] = {
      {{0, 3, 2, 1}, (entropy(0, 3, 0, 2) + entropy(0, 3, 1, 1)) / 2},
      {{0, 3, -100, 0}, entropy(0, 3, 1, 0) / 2},
      {{0, 3, 0, -100}, entropy(0, 3, 0, 0) / 2},
      {{0, 3, -100, -100}, 0},
      {{3, 4, 0, 0}, 0},
      {{4, 7, 1, 2}, (entropy(4, 7, 0, 1) + entropy(4, 7, 1, 2)) / 2},
      {{4, 7, 0, 0, 0, 3, 1, 1},
       (entropy(4, 7, 0, 0) + entropy(4, 7, 1, 0) + entropy(0, 3, 0, 1) + entropy(0, 3, 1, 1)) / 2},
      {{}, 0},
  };
  for (const auto& one : cases) {
    Losses l;
    l.add(ZO2_LOSS_SPANS, values, {}, one.examples, 1, 1);
    const double got = l.loss(1);
    CHECK(fabs(got - one.expected) <= 1e-12, "example %zu: %.17g, not %.17g", static_cast<size_t>(&one - cases), got,
          one.expected);
  }
}

void spans_out_of_bounds_poison_the_stream() {
  const struct {
    std::vector<int32_t> examples;
    const char* message;
  } cases[] = {
      {{0, 4, 0, 0}, "example 0 is the range [0, 4) of rows"},
      {{0, 3, 0, 0, 1, 1, 0, 0}, "example 1 is the range [1, 1) of rows"},
      {{-1, 2, 0, 0}, "example 0 is the range [-1, 2)"},
      {{1, 3, 2, 0}, "example 0 has the start position 2, but 2 rows; use 0 to 1, or -100 to ignore it"},
      {{1, 3, -100, -1}, "example 0 has the end position -1"},
      {{0, 3, 0, 2147483647}, "example 0 has the end position 2147483647"},
  };
  for (const auto& one : cases) {
    Losses l;
    l.add(ZO2_LOSS_SPANS, {1, 2, 3, 4, 5, 6}, {}, one.examples, 0, 1);
    const zo2_error error = l.rig.finish(l.stream);
    CHECK(error.status == ZO2_STATUS_INVALID_ARGUMENT && contains(error, one.message), "%s", error.message);
  }
}

void ranges_and_labels_out_of_bounds_poison_the_stream() {
  struct Case {
    std::vector<int32_t> choices;
    std::vector<int32_t> examples;
    const char* message;
  };
  const Case cases[] = {
      {{0, 3}, {0, 1, 0}, "choice 0 is the range [0, 3) of targets"},
      {{1, 1}, {0, 1, 0}, "choice 0 is the range [1, 1)"},
      {{-1, 1}, {0, 1, 0}, "choice 0 is the range [-1, 1)"},
      {{0, 1}, {0, 2, 0}, "example 0 is the range [0, 2) of choices"},
      {{0, 1, 1, 2}, {0, 2, 1, 0, 2, 2}, "example 1 has the label 2, but 2 choices"},
      {{0, 1}, {0, 1, -1}, "example 0 has the label -1"},
  };
  for (const Case& one : cases) {
    Losses l;
    l.add(ZO2_LOSS_CHOICES_MEAN, {-1, -2}, one.choices, one.examples, 0, 1);
    const zo2_error error = l.rig.finish(l.stream);
    CHECK(error.status == ZO2_STATUS_INVALID_ARGUMENT && contains(error, one.message), "%s", error.message);
  }
}

void a_step_may_have_many_probes_and_directions() {
  constexpr uint32_t kProbes = 130, kDirections = 64;
  Rig rig;
  zo2_stream* const stream = rig.stream("compute");
  std::vector<double> sums;
  for (uint32_t p = 0; p < kProbes; ++p) sums.push_back(0.1 * p * p);
  zo2_buffer* const losses = rig.on_device(stream, sums);
  zo2_buffer* const coefficients = rig.buffer(ZO2_BUFFER_DEVICE, (kDirections + 1) * sizeof(zo2_coefficient));
  rig.ok(rig.table->fill(stream, {coefficients, 0}, 0xa5, (kDirections + 1) * sizeof(zo2_coefficient), &rig.error));
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});
  // One-sided differences against the last probe; the last is that of a probe with itself.
  std::vector<zo2_difference> differences;
  for (uint32_t d = 0; d + 1 < kDirections; ++d) differences.push_back({2 * d, kProbes - 1});
  differences.push_back({5, 5});
  const zo2_gradient_args args = {{losses, 0}, kProbes,          7, differences.data(), kDirections,
                                  3e-3,        ZO2_SHAPING_NONE, 0, {coefficients, 0},  4,
                                  {sticky, 0}};
  rig.launched(rig.table->gradient(stream, &args, &rig.error));
  const std::vector<double> found = rig.read<double>(stream, losses, kProbes);
  for (uint32_t p = 0; p < kProbes; ++p) CHECK(found[p] == sums[p] / 7, "probe %u: %.17g", p, found[p]);
  const auto written = rig.read<zo2_coefficient>(stream, coefficients, kDirections + 1);
  for (uint32_t d = 0; d < kDirections; ++d) {
    const double difference = sums[differences[d].minuend] / 7 - sums[differences[d].subtrahend] / 7;
    CHECK(written[d].value == static_cast<float>(difference / 3e-3) && written[d].finite == 1, "direction %u: %.9g", d,
          static_cast<double>(written[d].value));
  }
  CHECK(written[kDirections].finite == 0xa5a5a5a5u, "a coefficient behind the last was written");
  CHECK(rig.read<zo2_sticky>(stream, sticky, 1)[0].flags == 0);
}

// What a rule makes of losses, on this backend.
struct Ruled {
  std::vector<zo2_coefficient> coefficients;
  zo2_sticky sticky;
};

Ruled ruled(const std::vector<double>& losses, const std::vector<zo2_difference>& differences, zo2_shaping shaping,
            uint32_t normalised) {
  Rig rig;
  zo2_stream* const stream = rig.stream("compute");
  const auto probes = static_cast<uint32_t>(losses.size()), directions = static_cast<uint32_t>(differences.size());
  zo2_buffer* const sums = rig.on_device(stream, losses);
  zo2_buffer* const found = rig.on_device(stream, std::vector<zo2_coefficient>(directions, {-7, 9}));
  zo2_buffer* const sticky = rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}});
  const zo2_gradient_args args = {{sums, 0},  probes,     1, differences.data(), directions, 0.5, shaping,
                                  normalised, {found, 0}, 6, {sticky, 0}};
  rig.launched(rig.table->gradient(stream, &args, &rig.error));
  const std::vector<double> kept = rig.read<double>(stream, sums, probes);
  for (uint32_t p = 0; p < probes; ++p)
    CHECK(kept[p] == losses[p] || losses[p] != losses[p], "shaping changed loss %u", p);
  return {rig.read<zo2_coefficient>(stream, found, directions), rig.read<zo2_sticky>(stream, sticky, 1)[0]};
}

void expect_values(const Ruled& found, const std::vector<double>& expected) {
  for (size_t d = 0; d < expected.size(); ++d) {
    const double value = static_cast<double>(found.coefficients[d].value);
    CHECK(std::fabs(value - expected[d]) <= 1e-7 * std::fabs(expected[d]) && found.coefficients[d].finite == 1,
          "direction %zu: %.9g, not %.9g", d, value, expected[d]);
  }
  CHECK(found.sticky.flags == 0);
}

void expect_not_finite(const Ruled& found) {
  for (const zo2_coefficient& coefficient : found.coefficients) CHECK(coefficient.finite == 0);
  CHECK(found.sticky.flags == ZO2_STICKY_NOT_FINITE && found.sticky.step == 6);
}

void losses_are_shaped_before_differences_are_taken() {
  const std::vector<zo2_difference> alone = {{0, ZO2_NO_PROBE}, {1, ZO2_NO_PROBE}, {2, ZO2_NO_PROBE}};
  // Mean 3, deviation sqrt(14 / 3); over the divisor 1/2.
  const double s = std::sqrt(14.0 / 3) + 1e-8;
  expect_values(ruled({1, 2, 6}, alone, ZO2_SHAPING_ZSCORE, 0), {-4 / s, -2 / s, 6 / s});
  expect_values(ruled({1, 2, 6}, {{0, 2}}, ZO2_SHAPING_ZSCORE, 0), {-10 / s});
  // Equal losses deviate by nothing, though their sum is rounded.
  expect_values(ruled({0.1, 0.1, 0.1}, alone, ZO2_SHAPING_ZSCORE, 0), {0, 0, 0});
  expect_values(ruled({5, -2, 3}, alone, ZO2_SHAPING_RANK, 0), {1, -1, 0});
  expect_values(ruled({7, -2, 7}, alone, ZO2_SHAPING_RANK, 0), {0.5, -1, 0.5});
  expect_values(ruled({4, 4, 4}, alone, ZO2_SHAPING_RANK, 0), {0, 0, 0});
  expect_values(ruled({9, 4, 6, 5}, {{0, 1}, {2, 3}}, ZO2_SHAPING_RANK, 0), {2, 2.0 / 3});
  for (const double wrong : {static_cast<double>(NAN), static_cast<double>(INFINITY)})
    for (const zo2_shaping shaping : {ZO2_SHAPING_ZSCORE, ZO2_SHAPING_RANK})
      expect_not_finite(ruled({1, wrong, 6}, alone, shaping, 0));
}

void differences_are_normalised_by_the_deviation_of_the_directions() {
  const std::vector<zo2_difference> from_base = {{1, 0}, {2, 0}, {3, 0}};
  // The deviation of 1, 2, 6 with D - 1; the base is none of them.
  const double s = std::sqrt(14.0 / 2);
  expect_values(ruled({-1, 1, 2, 6}, from_base, ZO2_SHAPING_NONE, 1), {4 / s, 6 / s, 14 / s});
  expect_values(ruled({-1, 0.1, 0.1, 0.1}, from_base, ZO2_SHAPING_NONE, 1), {0, 0, 0});
  expect_values(ruled({-1, 5}, {{1, 0}}, ZO2_SHAPING_NONE, 1), {0});
  expect_not_finite(ruled({-1, 1, NAN, 6}, from_base, ZO2_SHAPING_NONE, 1));
  expect_not_finite(ruled({INFINITY, 2, 2, 2}, from_base, ZO2_SHAPING_NONE, 1));
}

void a_coefficient_that_is_not_finite_raises_the_flag_of_the_first_step() {
  Losses l;
  l.add(ZO2_LOSS_TOKENS, {NAN}, {}, {}, 0, 1);
  l.gradient(1, 2e-3, 7);
  CHECK(l.coefficient(0).finite == 0);
  CHECK(l.read_sticky().flags == ZO2_STICKY_NOT_FINITE && l.read_sticky().step == 7);
  l.gradient(1, 2e-3, 8);
  CHECK(l.read_sticky().step == 7);
  // Finite losses whose difference is too large for fp32.
  Losses wide;
  wide.add(ZO2_LOSS_TOKENS, {-3e38f}, {}, {}, 0, 1);
  wide.add(ZO2_LOSS_TOKENS, {0}, {}, {}, 1, 1);
  wide.gradient(1, 2e-3, 3);
  CHECK(wide.coefficient(0).finite == 0 && wide.read_sticky().flags == ZO2_STICKY_NOT_FINITE &&
        wide.read_sticky().step == 3);
  // One of two directions.
  Losses one;
  one.add(ZO2_LOSS_TOKENS, {-INFINITY}, {}, {}, 1, 1);
  const zo2_difference differences[] = {{0, 1}, {0, 2}};
  const zo2_gradient_args args = {
      {one.losses, 0}, 3, 1, differences, 2, 2, ZO2_SHAPING_NONE, 0, {one.coefficients, 0}, 5, {one.sticky, 0}};
  one.rig.launched(one.rig.table->gradient(one.stream, &args, &one.rig.error));
  CHECK(one.coefficient(0).finite == 0 && one.coefficient(1).finite == 1 && one.coefficient(1).value == -111);
  CHECK(one.read_sticky().flags == ZO2_STICKY_NOT_FINITE && one.read_sticky().step == 5);
}

void gradient_refuses_what_it_cannot_use() {
  Losses l;
  std::vector<zo2_difference> differences(65, {0, 1});
  const auto refused = [&](const char* text, auto change) {
    zo2_gradient_args args = {
        {l.losses, 0}, 2, 1, differences.data(), 1, 1, ZO2_SHAPING_NONE, 0, {l.coefficients, 0}, 0, {l.sticky, 0}};
    change(args);
    invalid(l.rig, l.rig.table->gradient(l.stream, &args, &l.rig.error), text);
  };
  zo2_buffer* const host = l.rig.buffer(ZO2_BUFFER_HOST, 64);
  refused("gradient: total is 0", [](auto& a) { a.total = 0; });
  refused("gradient: divisor is nan", [](auto& a) { a.divisor = NAN; });
  refused("gradient: divisor is 0", [](auto& a) { a.divisor = 0; });
  refused("gradient: divisor is -1", [](auto& a) { a.divisor = -1; });
  refused("gradient: direction_count is 0; use 1 to 64", [](auto& a) { a.direction_count = 0; });
  refused("gradient: direction_count is 65; use 1 to 64", [](auto& a) { a.direction_count = 65; });
  refused("gradient: differences is null, but direction_count is 1", [](auto& a) { a.differences = nullptr; });
  refused("gradient: losses is none", [](auto& a) { a.losses = kNone; });
  refused("gradient: losses needs 32 bytes", [](auto& a) { a.probe_count = 4; });
  refused("gradient: losses needs 34359738360 bytes", [](auto& a) { a.probe_count = UINT32_MAX; });
  refused("gradient: losses starts at offset 4", [](auto& a) { a.losses.offset = 4; });
  refused("gradient: losses is a host buffer", [&](auto& a) { a.losses = {host, 0}; });
  refused("gradient: coefficients is none", [](auto& a) { a.coefficients = kNone; });
  refused("gradient: coefficients needs 24 bytes", [](auto& a) { a.direction_count = 3; });
  refused("gradient: coefficients starts at offset 2", [](auto& a) { a.coefficients.offset = 2; });
  refused("gradient: coefficients is a host buffer", [&](auto& a) { a.coefficients = {host, 0}; });
  refused("gradient: sticky is none", [](auto& a) { a.sticky = kNone; });
  refused("coefficients (8 bytes) overlaps losses (16 bytes)", [&](auto& a) { a.coefficients = {l.losses, 12}; });
  refused("sticky (8 bytes) overlaps losses (16 bytes)", [&](auto& a) { a.sticky = {l.losses, 0}; });
  refused("sticky (8 bytes) overlaps coefficients (8 bytes)", [&](auto& a) { a.sticky = {l.coefficients, 4}; });
  differences[1] = {2, 0};
  refused("gradient: differences[1].minuend is 2, but there are 2 probes", [](auto& a) { a.direction_count = 2; });
  differences[1] = {0, UINT32_MAX - 1};
  refused("gradient: differences[1].subtrahend is 4294967294, but there are 2 probes",
          [](auto& a) { a.direction_count = 2; });
  refused("gradient: differences[0].minuend is 0, but there are 0 probes", [](auto& a) { a.probe_count = 0; });
  refused("gradient: shaping 3 is none of the contract's", [](auto& a) { a.shaping = static_cast<zo2_shaping>(3); });
  refused("gradient: probe_count is 1, but ranks need at least 2 probes", [](auto& a) {
    a.shaping = ZO2_SHAPING_RANK;
    a.probe_count = 1;
  });
  CHECK(l.loss(0) == 111 && l.read_sticky().flags == 0);
  CHECK(l.rig.info().launches == 0);
}

void loss_refuses_what_it_cannot_use() {
  Losses l;
  Rig& rig = l.rig;
  zo2_loss_args loss = {};
  loss.values = {rig.on_device(l.stream, std::vector<float>{0, 0}), 0};
  loss.targets = 3;
  loss.losses = {l.losses, 0};
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "values needs 12 bytes");
  loss.targets = 2;
  loss.probe = 3;
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "losses needs 32 bytes");
  loss.probe = UINT32_MAX;
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "losses needs 34359738368 bytes");
  loss.probe = 0;
  loss.losses = kNone;
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "losses is none");
  loss.losses = {l.losses, 4};
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "losses starts at offset 4");
  loss.losses = {rig.buffer(ZO2_BUFFER_HOST, 8), 0};
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "losses is a host buffer");
  loss.losses = {l.losses, 0};
  loss.kind = static_cast<zo2_loss_kind>(6);
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "kind is 6");
  loss.kind = ZO2_LOSS_TOKENS;
  loss.values = {rig.host(std::vector<float>{0, 0}), 0};
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "must be device memory");
  loss.values = {rig.on_device(l.stream, std::vector<float>{0, 0, 0}), 0};
  for (const zo2_loss_kind kind : {ZO2_LOSS_BINARY, ZO2_LOSS_SQUARED}) {
    loss.kind = kind;
    loss.labels = kNone;
    invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "labels is none");
    loss.labels = {rig.host(std::vector<float>{0, 0}), 4};
    invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "labels needs 8 bytes");
  }
  loss.kind = ZO2_LOSS_SPANS;
  loss.example_count = 1;
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "examples is none");
  loss.examples = {rig.host(std::vector<int32_t>{0, 1, 0}), 0};
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "examples needs 16 bytes");
  loss.targets = 3;
  invalid(rig, rig.table->loss(l.stream, &loss, &rig.error), "targets is 3, but every row of spans has two logits");
}

}  // namespace

int main() {
  copies_fills_and_gathers_put_bytes_where_they_belong();
  copies_within_host_memory_take_their_turn();
  rows_may_overlap_nothing_and_lie_inside_their_source();
  transfers_outside_their_buffers_are_refused_before_anything_is_enqueued();
  token_losses_add_up_over_micro_batches();
  token_losses_are_summed_in_double_precision();
  choices_are_scored_by_mean_or_sum();
  ranges_and_labels_out_of_bounds_poison_the_stream();
  logits_have_the_binary_entropy_of_their_labels();
  squares_are_summed_in_double_precision_and_in_order();
  spans_add_half_the_entropy_of_their_start_and_of_their_end();
  spans_out_of_bounds_poison_the_stream();
  a_step_may_have_many_probes_and_directions();
  losses_are_shaped_before_differences_are_taken();
  differences_are_normalised_by_the_deviation_of_the_directions();
  a_coefficient_that_is_not_finite_raises_the_flag_of_the_first_step();
  loss_refuses_what_it_cannot_use();
  gradient_refuses_what_it_cannot_use();
  return zo2::test::report();
}
