// The small kernels: losses and gradients with the bits of cpu/ops/loss.h, gathered rows, and the first fault of every
// kind of table.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <numeric>

#include "contract/commands.h"
#include "cpu/ops/loss.h"
#include "cuda/ops/check.cuh"
#include "cuda/ops/gather.cuh"
#include "cuda/ops/loss.cuh"
#include "test/native/cpp/cuda_rig.h"

using namespace zo2;
using contract::Fault;
using contract::FaultKind;
using test::CudaRig;
using test::Guarded;

namespace {

bool is(const Fault& fault, FaultKind kind, uint64_t index, std::vector<int64_t> values) {
  values.resize(5);
  return fault.kind == kind && fault.index == index && memcmp(fault.values, values.data(), sizeof fault.values) == 0;
}

bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

std::vector<float> logprobs(uint64_t count) {
  std::vector<float> values;
  for (uint64_t i = 0; i < count; ++i) {
    values.push_back(
        -static_cast<float>(fabs(sin(static_cast<double>(i) * 2.3)) * pow(10.0, static_cast<double>(i % 9) - 4)));
  }
  return values;
}

// What the CPU backend makes of a command whose tables are in host memory.
double loss_on_cpu(contract::LossCommand command) {
  double loss = NAN;
  command.loss = &loss;
  command.first = true;
  cpu::run_loss(command);
  return loss;
}

void tokens(CudaRig& rig) {
  for (const uint64_t count : {0, 1, 31, 32, 255, 256, 257, 1000, 5000}) {
    const std::vector<float> values = logprobs(count);
    Guarded device(values), losses(std::vector<double>{1.25, 3.5, 7});
    contract::LossCommand command{};
    command.kind = ZO2_LOSS_TOKENS;
    command.values = values.data();
    command.targets = count;
    const double expected = loss_on_cpu(command);
    command.values = device.at<float>();
    command.loss = losses.at<double>();
    command.first = true;
    MUST(cuda::launch_loss(rig.launch(), command));
    command.first = false, command.loss++;
    MUST(cuda::launch_loss(rig.launch(), command));
    CHECK(rig.fault().kind == FaultKind::kNone);
    const std::vector<double> found = losses.get<double>();
    CHECK(same_bits(found[0], expected), "%llu tokens: %.17g, not %.17g", static_cast<unsigned long long>(count),
          found[0], expected);
    CHECK(same_bits(found[1], 3.5 + expected), "%llu tokens", static_cast<unsigned long long>(count));
    CHECK(found[2] == 7 && losses.intact());
  }
}

// Examples of 1 to 4 choices of 1 to 5 targets, some of them shared.
struct Choices {
  std::vector<float> values = logprobs(700);
  std::vector<int32_t> choices, examples;
  explicit Choices(int count) {
    for (int e = 0; e < count; ++e) {
      const int begin = static_cast<int>(choices.size() / 2);
      for (int k = 0; k <= e % 4; ++k)
        choices.insert(choices.end(), {(e * 7 + k) % 600, (e * 7 + k) % 600 + 1 + (e + k) % 5});
      examples.insert(examples.end(), {begin, static_cast<int>(choices.size() / 2), e % (e % 4 + 1)});
    }
  }
  contract::LossCommand command(zo2_loss_kind kind) const {
    contract::LossCommand c{};
    c.kind = kind;
    c.values = values.data();
    c.targets = values.size();
    c.choices = choices.data();
    c.choice_count = choices.size() / 2;
    c.examples = examples.data();
    c.example_count = examples.size() / 3;
    return c;
  }
};

void choices(CudaRig& rig) {
  for (const zo2_loss_kind kind : {ZO2_LOSS_CHOICES_MEAN, ZO2_LOSS_CHOICES_SUM}) {
    for (const int count : {0, 1, 31, 33, 70}) {
      const Choices tables(count);
      contract::LossCommand command = tables.command(kind);
      const double expected = loss_on_cpu(command);
      Guarded values(tables.values), list(tables.choices), examples(tables.examples), loss(std::vector<double>(1));
      command.values = values.at<float>();
      command.choices = list.at<int32_t>();
      command.examples = examples.at<int32_t>();
      command.loss = loss.at<double>();
      command.first = true;
      MUST(cuda::launch_loss(rig.launch(), command));
      CHECK(rig.fault().kind == FaultKind::kNone);
      const double found = loss.get<double>()[0];
      // exp and log of the GPU are not those of the host's library.
      CHECK(fabs(found - expected) <= 1e-13 * fabs(expected), "%d examples: %.17g, not %.17g", count, found, expected);
    }
  }
}

void choice_faults(CudaRig& rig) {
  const auto run = [&](const Choices& tables) {
    rig.clear();
    contract::LossCommand command = tables.command(ZO2_LOSS_CHOICES_MEAN);
    Guarded values(tables.values), list(tables.choices), examples(tables.examples), loss(std::vector<double>{5});
    command.values = values.at<float>();
    command.choices = list.at<int32_t>();
    command.examples = examples.at<int32_t>();
    command.loss = loss.at<double>();
    MUST(cuda::launch_loss(rig.launch(), command));
    const Fault fault = rig.fault();
    CHECK(loss.get<double>()[0] == 5, "the loss of faulty tables was added");
    rig.clear();
    return fault;
  };
  Choices tables(300);
  tables.examples[290 * 3] = -1;
  tables.examples[280 * 3 + 2] = 4;  // example 280 has one choice
  CHECK(is(run(tables), FaultKind::kLabel, 280, {4, 1}));
  tables.choices[2 * tables.examples[270 * 3 + 1] - 1] = 701;  // the last choice of example 270
  const int choice = tables.examples[270 * 3 + 1] - 1;
  CHECK(
      is(run(tables), FaultKind::kChoiceRange, static_cast<uint64_t>(choice), {tables.choices[2 * choice], 701, 700}));
  tables.examples[260 * 3 + 1] = tables.examples[260 * 3];
  const int begin = tables.examples[260 * 3];
  CHECK(
      is(run(tables), FaultKind::kExampleRange, 260, {begin, begin, static_cast<int64_t>(tables.choices.size() / 2)}));
}

void logits(CudaRig& rig) {
  for (const zo2_loss_kind kind : {ZO2_LOSS_BINARY, ZO2_LOSS_SQUARED, ZO2_LOSS_SPANS}) {
    for (const int32_t count : {0, 2, 32, 66, 1000}) {
      std::vector<float> values, labels;
      std::vector<int32_t> examples;
      for (int32_t i = 0; i < count; ++i) {
        values.push_back(static_cast<float>(sin(i * 2.3) * pow(10.0, i % 9 - 4)));
        labels.push_back(static_cast<float>(i * 7 % 5) / 4);
      }
      for (int32_t begin = 0; begin < count / 2; begin += 3) {
        const int32_t rows = std::min(1 + begin % 11, count / 2 - begin);
        examples.insert(examples.end(),
                        {begin, begin + rows, begin % 4 == 1 ? -100 : begin % rows, begin % 5 == 0 ? -100 : rows - 1});
      }
      Guarded on_device(values), label_list(labels), example_list(examples), loss(std::vector<double>(1));
      contract::LossCommand command{};
      command.kind = kind;
      command.values = values.data();
      command.targets = values.size();
      if (kind != ZO2_LOSS_SPANS) command.labels = labels.data();
      if (kind == ZO2_LOSS_SPANS) command.examples = examples.data(), command.example_count = examples.size() / 4;
      const double expected = loss_on_cpu(command);
      command.values = on_device.at<float>();
      command.labels = label_list.at<float>();
      command.examples = example_list.at<int32_t>();
      command.loss = loss.at<double>();
      command.first = true;
      MUST(cuda::launch_loss(rig.launch(), command));
      CHECK(rig.fault().kind == FaultKind::kNone);
      const double found = loss.get<double>()[0];
      const double allowed = kind == ZO2_LOSS_SQUARED ? 0 : 1e-13 * fabs(expected);
      CHECK(fabs(found - expected) <= allowed, "kind %d, %d values: %.17g, not %.17g", static_cast<int>(kind), count,
            found, expected);
    }
  }
}

contract::GradientCommand gradient_command(double* losses, uint32_t probes, zo2_coefficient* coefficients,
                                           const std::vector<zo2_difference>& differences, zo2_sticky* sticky) {
  contract::GradientCommand command{};
  command.losses = losses;
  command.probe_count = probes;
  command.direction_count = static_cast<uint32_t>(differences.size());
  std::copy(differences.begin(), differences.end(), command.differences);
  command.total = 7;
  command.divisor = 2e-3;
  command.shaping = ZO2_SHAPING_NONE;
  command.coefficients = coefficients;
  command.step = 12;
  command.sticky = sticky;
  return command;
}

void gradients(CudaRig& rig) {
  const auto run = [&](std::vector<double> losses, const std::vector<zo2_difference>& differences, zo2_sticky sticky) {
    const auto probes = static_cast<uint32_t>(losses.size());
    std::vector<zo2_coefficient> coefficients(differences.size(), {-1, 5});
    Guarded sums(losses), found(coefficients), flags(std::vector<zo2_sticky>{sticky});
    MUST(cuda::launch_gradient(rig.launch(), gradient_command(sums.at<double>(), probes, found.at<zo2_coefficient>(),
                                                              differences, flags.at<zo2_sticky>())));
    rig.finish();
    cpu::run_gradient(gradient_command(losses.data(), probes, coefficients.data(), differences, &sticky));
    const std::vector<double> divided = sums.get<double>();
    for (uint32_t p = 0; p < probes; ++p)
      CHECK(same_bits(divided[p], losses[p]), "probe %u of %u: %g, not %g", p, probes, divided[p], losses[p]);
    const std::vector<zo2_coefficient> written = found.get<zo2_coefficient>();
    for (size_t d = 0; d < differences.size(); ++d) {
      const float value = written[d].value, expected = coefficients[d].value;
      CHECK(value == expected || (value != value && expected != expected), "direction %zu: %g, not %g", d,
            static_cast<double>(value), static_cast<double>(expected));
      CHECK(written[d].finite == coefficients[d].finite, "direction %zu", d);
    }
    const zo2_sticky raised = flags.get<zo2_sticky>()[0];
    CHECK(raised.flags == sticky.flags && raised.step == sticky.step);
    CHECK(sums.intact() && found.intact() && flags.intact());
    return raised;
  };
  CHECK(run({3.1, 2.9}, {{0, 1}}, {0, 0}).flags == 0);
  CHECK(run({3.1, INFINITY}, {{0, 1}}, {0, 0}).step == 12);
  CHECK(run({1e300, -1e300}, {{0, 1}}, {ZO2_STICKY_OVERFLOW, 3}).step == 3);
  // A loss that no difference asks for raises nothing.
  CHECK(run({3.1, 2.9, NAN}, {{1, 0}}, {0, 0}).flags == 0);
  // More probes than threads, and as many directions as there may be; then the last of them alone is not finite.
  std::vector<double> many;
  for (int p = 0; p < 200; ++p) many.push_back(exp(sin(p) * 3));
  std::vector<zo2_difference> all;
  for (uint32_t d = 0; d < contract::kMaxDirections; ++d) all.push_back({199 - d, d % 7});
  CHECK(run(many, all, {0, 0}).flags == 0);
  many[199 - 63] = INFINITY;
  CHECK(run(many, all, {0, 0}).step == 12);
}

void gathers(CudaRig& rig) {
  for (const Guarded::Kind kind : {Guarded::Kind::kDevice, Guarded::Kind::kPinned}) {
    for (const uint64_t row_bytes : {1, 12, 16, 48, 513, 516, 2048, 9232}) {
      for (const uint64_t offset : {0, 4, 7}) {
        std::vector<unsigned char> table(20 * row_bytes);
        std::iota(table.begin(), table.end(), static_cast<unsigned char>(1));
        const std::vector<int32_t> list = {103, 100, 119, 103, 111, 112, 118, 101, 119};
        Guarded from(table, offset, kind), to(list.size() * row_bytes, offset), rows(list, 0, Guarded::Kind::kPinned);
        MUST(cuda::launch_gather(rig.launch(),
                                 {to.at(), from.at(), rows.at<int32_t>(), list.size(), 100, row_bytes, 20}));
        CHECK(rig.fault().kind == FaultKind::kNone);
        const std::vector<unsigned char> found = to.get();
        bool equal = true;
        for (size_t i = 0; i < list.size(); ++i) {
          const unsigned char* const source = table.data() + static_cast<uint64_t>(list[i] - 100) * row_bytes;
          equal = equal && memcmp(found.data() + i * row_bytes, source, row_bytes) == 0;
        }
        CHECK(equal && to.intact(), "rows of %llu bytes, offset %llu", static_cast<unsigned long long>(row_bytes),
              static_cast<unsigned long long>(offset));
      }
    }
  }
}

// Rows longer than the grid, and rows whose bytes lie past 2^32 from the start of their table.
void large_gathers(CudaRig& rig) {
  std::vector<unsigned char> table(2 * 150001);
  std::iota(table.begin(), table.end(), static_cast<unsigned char>(1));
  const std::vector<int32_t> swapped = {1, 0};
  Guarded from(table, 1), to(table.size(), 3), rows(swapped, 0, Guarded::Kind::kPinned);
  MUST(cuda::launch_gather(rig.launch(), {to.at(), from.at(), rows.at<int32_t>(), 2, 0, 150001, 2}));
  CHECK(rig.fault().kind == FaultKind::kNone && to.intact());
  std::rotate(table.begin(), table.begin() + 150001, table.end());
  CHECK(to.get() == table);

  constexpr int32_t kFar = 1 << 30;
  const std::vector<int32_t> far = {kFar + 3, kFar, kFar + 9};
  Guarded far_rows(far, 0, Guarded::Kind::kPinned), far_to(3 * 64);
  const uint8_t* const start =
      reinterpret_cast<const uint8_t*>(reinterpret_cast<uintptr_t>(from.at()) - uint64_t{kFar} * 64);
  MUST(cuda::launch_gather(rig.launch(), {far_to.at(), start, far_rows.at<int32_t>(), 3, 0, 64, kFar + 10u}));
  CHECK(rig.fault().kind == FaultKind::kNone && far_to.intact());
  const std::vector<unsigned char> source = from.get(), found = far_to.get();
  for (size_t i = 0; i < 3; ++i) CHECK(memcmp(found.data() + i * 64, source.data() + (far[i] - kFar) * 64, 64) == 0);
}

void gather_faults(CudaRig& rig) {
  const std::vector<unsigned char> table(64 * 30, 9);
  Guarded both(table);
  // The source begins at row 0 of `both`, the destination at row 20.
  const auto run = [&](const std::vector<int32_t>& list, int64_t base) {
    Guarded rows(list, 0, Guarded::Kind::kPinned);
    MUST(cuda::launch_gather(rig.launch(),
                             {both.at() + 64 * 20, both.at(), rows.at<int32_t>(), list.size(), base, 64, 30}));
    const Fault fault = rig.fault();
    rig.clear();
    return fault;
  };
  CHECK(run({5, 6, 19, 24}, 0).kind == FaultKind::kNone);
  CHECK(is(run({5, 6, 30, -1}, 0), FaultKind::kGatherRow, 2, {30, 30, 0}));
  CHECK(is(run({-5, -1, -6, -7}, -5), FaultKind::kGatherRow, 2, {-6, 30, -5}));
  CHECK(is(run({5, 23, 31}, 0), FaultKind::kGatherRow, 2, {31, 30, 0}));
  CHECK(is(run({5, 22, 31}, 0), FaultKind::kGatherOverlap, 1, {22}));
}

void tables(CudaRig& rig) {
  // Rows of five words, of which an op reads the first ones.
  const int64_t stride = 5;
  const auto strided = [&](const std::vector<std::vector<int32_t>>& values) {
    std::vector<int32_t> table;
    for (const std::vector<int32_t>& row : values) {
      table.insert(table.end(), row.begin(), row.end());
      table.resize(table.size() + 5 - row.size(), -77);
    }
    return table;
  };
  const auto run = [&](auto launch, const std::vector<std::vector<int32_t>>& values, int64_t rows) {
    Guarded table(strided(values));
    MUST(launch(rig.launch(), 9u, table.at<int32_t>(), stride, static_cast<int64_t>(values.size()), rows));
    const Fault fault = rig.fault();
    CHECK(fault.op == (fault.kind == FaultKind::kNone ? 0u : 9u));
    rig.clear();
    return fault;
  };
  const auto sequences = [](const cuda::Launch& launch, uint32_t op, const int32_t* table, int64_t row_stride,
                            int64_t count, int64_t rows) {
    return cuda::launch_check_sequences(launch, op, table, row_stride, count, {rows, rows, false});
  };
  CHECK(run(sequences, {}, 0).kind == FaultKind::kNone);
  CHECK(run(sequences, {{0, 4, 0, 0}, {4, 6, 0, 4}, {10, 0, 0, 10}}, 10).kind == FaultKind::kNone);
  CHECK(run(sequences, {{4, 6, 0, 0}, {0, 4, 0, 0}, {2, 0, 0, 0}, {8, 0, 10, 0}}, 10).kind == FaultKind::kNone,
        "any order, empty ones anywhere");
  CHECK(is(run(sequences, {{0, 4, 0, 0}, {4, 7, 0, 0}, {-1, 3, 0, 0}}, 10), FaultKind::kSequence, 1, {4, 7, 0, 0, 10}));
  CHECK(is(run(sequences, {{0, 4, 8, 3}}, 10), FaultKind::kSequence, 0, {0, 4, 8, 3, 10}));
  CHECK(is(run(sequences, {{0, 4, 8, -1}}, 10), FaultKind::kSequence, 0, {0, 4, 8, -1, 10}));
  constexpr int32_t kMost = INT32_MAX;
  CHECK(
      is(run(sequences, {{0, kMost, kMost, kMost}}, kMost), FaultKind::kSequence, 0, {0, kMost, kMost, kMost, kMost}));
  CHECK(is(run(sequences, {{6, 3, 0, 0}, {8, 1, 0, 0}, {0, 4, 0, 0}, {3, 2, 0, 0}}, 10), FaultKind::kSequenceOverlap, 3,
           {0, 3}));
  CHECK(is(run(sequences, {{5, 2, 0, 0}, {5, 2, 0, 0}}, 10), FaultKind::kSequenceOverlap, 5, {5, 5}));
  CHECK(is(run(sequences, {{5, 2, 0, 0}, {5, 2, 0, 0}, {1, 9, 0, 0}}, 10), FaultKind::kSequenceOverlap, 5, {1, 5}));
  std::vector<std::vector<int32_t>> stacked(300, {5, 1, 0, 0});
  stacked[280] = {2, 8, 0, 0};
  CHECK(is(run(sequences, stacked, 10), FaultKind::kSequenceOverlap, 5, {2, 5}));
  std::vector<std::vector<int32_t>> many;
  for (int i = 0; i < 600; ++i) many.push_back({3 * i, 3, 0, 0});
  CHECK(run(sequences, many, 1800).kind == FaultKind::kNone);
  many[590][1] = many[570][1] = 4;
  CHECK(is(run(sequences, many, 1800), FaultKind::kSequenceOverlap, 571 * 3, {570 * 3, 571 * 3}));

  const auto& targets = cuda::launch_check_targets;
  CHECK(run(targets, {{0, 5}, {3, INT32_MAX}, {99, -100}, {-1, -100}, {2, -1}}, 4).kind == FaultKind::kNone);
  CHECK(is(run(targets, {{0, 5}, {99, -100}, {4, 5}, {-1, 5}}, 4), FaultKind::kTarget, 2, {4, 4}));
  CHECK(is(run(targets, {{0, 5}, {-1, -5}}, 4), FaultKind::kTarget, 1, {-1, 4}));

  // With a fifth column, and three times as many rows of k and v.
  const auto keyed = [](const cuda::Launch& launch, uint32_t op, const int32_t* table, int64_t row_stride,
                        int64_t count, int64_t rows) {
    return cuda::launch_check_sequences(launch, op, table, row_stride, count, {rows, 3 * rows, true});
  };
  CHECK(run(keyed, {{0, 4, 0, 0, 26}, {4, 6, 20, 10, 0}, {10, 0, 30, 0, 30}}, 10).kind == FaultKind::kNone);
  CHECK(is(run(keyed, {{0, 4, 0, 0, 0}, {4, 7, 40, 0, 0}}, 10), FaultKind::kSequence, 1, {4, 7, 40, 0, 10}));
  CHECK(is(run(keyed, {{0, 4, 0, 0, 0}, {4, 6, 0, 0, 25}, {-1, 1, 0, 0, 0}}, 10), FaultKind::kSequenceKeys, 1,
           {6, 0, 0, 25, 30}));
  CHECK(is(run(keyed, {{0, 4, 21, 10, 0}}, 10), FaultKind::kSequenceKeys, 0, {4, 21, 10, 0, 30}));
  CHECK(is(run(keyed, {{0, 4, 0, 0, -1}}, 10), FaultKind::kSequenceKeys, 0, {4, 0, 0, -1, 30}));
  CHECK(is(run(keyed, {{0, 4, 0, 0, kMost}}, 10), FaultKind::kSequenceKeys, 0, {4, 0, 0, kMost, 30}));
  CHECK(run(keyed, {{0, 4, 0, 0, 5}, {4, 4, 0, 0, 5}}, 10).kind == FaultKind::kNone, "keys may be shared");
  CHECK(is(run(keyed, {{0, 4, 0, 0, 0}, {3, 4, 0, 0, 10}}, 10), FaultKind::kSequenceOverlap, 3, {0, 3}));

  const auto index = [](const cuda::Launch& launch, uint32_t op, const int32_t* table, int64_t row_stride,
                        int64_t count, int64_t rows) {
    return cuda::launch_check_index(launch, op, table, row_stride, count, rows, FaultKind::kIndexRow);
  };
  const auto slots = [](const cuda::Launch& launch, uint32_t op, const int32_t* table, int64_t row_stride,
                        int64_t count, int64_t rows) {
    return cuda::launch_check_index(launch, op, table, row_stride, count, rows, FaultKind::kScatterRow);
  };
  CHECK(is(run(slots, {{0}, {4}, {-1}}, 4), FaultKind::kScatterRow, 1, {4, 4}));
  CHECK(run(index, {{0}, {3}, {2}}, 4).kind == FaultKind::kNone);
  CHECK(is(run(index, {{0}, {4}, {-1}}, 4), FaultKind::kIndexRow, 1, {4, 4}));
  std::vector<std::vector<int32_t>> long_index(1000, {1});
  long_index[999] = long_index[769] = {-9}, long_index[513] = {-8}, long_index[520] = {-7};
  CHECK(is(run(index, long_index, 4), FaultKind::kIndexRow, 513, {-8, 4}));
}

// Once a fault is raised, it stays, and nothing else of the stream happens.
void the_first_fault_stays(CudaRig& rig) {
  Guarded bad(std::vector<int32_t>{7}), worse(std::vector<int32_t>{-3}), losses(std::vector<double>{5, 6}),
      coefficients(std::vector<zo2_coefficient>{{4, 0}}), to(16);
  Guarded flags(std::vector<zo2_sticky>(1)), values(logprobs(3)),
      rows(std::vector<int32_t>{0}, 0, Guarded::Kind::kPinned);
  MUST(cuda::launch_check_index(rig.launch(), 1, bad.at<int32_t>(), 1, 1, 4, FaultKind::kIndexRow));
  MUST(cuda::launch_check_index(rig.launch(), 2, worse.at<int32_t>(), 1, 1, 4, FaultKind::kScatterRow));
  MUST(cuda::launch_gather(rig.launch(), {to.at(), values.at(), rows.at<int32_t>(), 1, 0, 12, 1}));
  MUST(cuda::launch_loss(rig.launch(), {ZO2_LOSS_TOKENS, values.at<float>(), 3, nullptr, nullptr, 0, nullptr, 0,
                                        losses.at<double>(), false}));
  MUST(cuda::launch_gradient(rig.launch(), gradient_command(losses.at<double>(), 2, coefficients.at<zo2_coefficient>(),
                                                            {{0, 1}}, flags.at<zo2_sticky>())));
  const Fault fault = rig.fault();
  CHECK(is(fault, FaultKind::kIndexRow, 0, {7, 4}) && fault.op == 1);
  CHECK(losses.get<double>() == std::vector<double>({5, 6}) && coefficients.get<zo2_coefficient>()[0].value == 4);
  CHECK(to.get() == std::vector<unsigned char>(16, 0xA5));
  rig.clear();
}

}  // namespace

int main() {
  CudaRig rig;
  tokens(rig);
  choices(rig);
  choice_faults(rig);
  logits(rig);
  gradients(rig);
  gathers(rig);
  large_gathers(rig);
  gather_faults(rig);
  tables(rig);
  the_first_fault_stays(rig);
  return test::report();
}
