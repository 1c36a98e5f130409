#include "cpu/launch.h"

#include <array>
#include <cinttypes>
#include <cmath>

#include "cpu/device.h"
#include "cpu/loss.h"
#include "cpu/raw.h"
#include "cpu/span.h"
#include "cpu/status.h"

namespace zo2::cpu {
namespace {

constexpr const char* kSpaceNames[ZO2_SPACES] = {"spaces[weights]", "spaces[carried]", "spaces[workspace]", "spaces[inputs]", "spaces[results]"};
constexpr const char* kSymbolNames[ZO2_SYMBOLS] = {"rows", "sequences", "head rows", "targets", "table rows"};

void check_positive(const char* command, const char* field, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s is %g, but must be a positive finite number", command, field, value);
  }
}

// A table of `rows` rows of `columns` int32; null when it is empty.
const int32_t* resolve_table(const Device& device, const zo2_span& span, const char* name, uint64_t rows, uint64_t columns) {
  if (rows == 0) return nullptr;
  if (rows > UINT64_MAX / (columns * sizeof(int32_t))) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: %s has %" PRIu64 " rows, more than 2^64 bytes", name, rows);
  }
  return reinterpret_cast<const int32_t*>(
      resolve(device, "loss", span, {name, rows * columns * sizeof(int32_t), sizeof(int32_t), Kinds::kAny}));
}

}  // namespace

void enqueue_run(Stream& stream, const zo2_run_args& args) {
  if (args.program == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "run: program is none");
  const DeviceProgram& owner = *reinterpret_cast<const DeviceProgram*>(args.program);
  Device& device = stream.device();
  if (owner.device.get() != &device) fail(ZO2_STATUS_INVALID_ARGUMENT, "run: the program belongs to another device");
  const Program& program = owner.program;
  std::array<uint64_t, ZO2_SYMBOLS> symbols;
  for (int s = 0; s < ZO2_SYMBOLS; ++s) {
    symbols[s] = args.symbols[s];
    if (symbols[s] > program.symbol_maximum(s)) {
      fail(ZO2_STATUS_INVALID_ARGUMENT, "run: symbol %d (%s) is %" PRIu64 ", but the program was made for at most %" PRIu64, s, kSymbolNames[s],
           symbols[s], program.symbol_maximum(s));
    }
  }
  std::array<uint8_t*, ZO2_SPACES> spaces{};
  for (int s = 0; s < ZO2_SPACES; ++s) {
    if (!program.uses(s)) continue;
    spaces[s] = resolve(device, "run", args.spaces[s], {kSpaceNames[s], program.required(s), sizeof(float), Kinds::kDeviceOnly});
  }
  stream.work(Stream::Counted::kLaunch, [&device, &program, spaces, symbols] {
    program.run(spaces.data(), symbols.data(), device.pool(), device.vectorised());
  });
}

void enqueue_loss(Stream& stream, const zo2_loss_args& args) {
  const Device& device = stream.device();
  const int kind = raw(args.kind);
  if (kind != ZO2_LOSS_TOKENS && kind != ZO2_LOSS_CHOICES_MEAN && kind != ZO2_LOSS_CHOICES_SUM) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: kind is %d; use 0 (tokens), 1 (mean of a choice) or 2 (sum of a choice)", kind);
  }
  if (args.branch > 1) fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: branch is %" PRIu32 "; use 0 (plus) or 1 (minus)", args.branch);
  if (args.targets > UINT64_MAX / sizeof(float)) fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: %" PRIu64 " targets are more than 2^64 bytes", args.targets);
  LossTables tables{};
  tables.kind = args.kind;
  tables.targets = args.targets;
  tables.logprobs = reinterpret_cast<const float*>(
      resolve(device, "loss", args.logprobs, {"logprobs", args.targets * sizeof(float), sizeof(float), Kinds::kDeviceOnly}));
  if (args.kind != ZO2_LOSS_TOKENS) {
    tables.choice_count = args.choice_count;
    tables.choices = resolve_table(device, args.choices, "choices", args.choice_count, 2);
    tables.example_count = args.example_count;
    tables.examples = resolve_table(device, args.examples, "examples", args.example_count, 3);
  }
  auto* const state = reinterpret_cast<zo2_step_state*>(
      resolve(device, "loss", args.state, {"state", sizeof(zo2_step_state), alignof(zo2_step_state), Kinds::kDeviceOnly}));
  stream.work(Stream::Counted::kLaunch, [tables, state, minus = args.branch == 1, first = args.first != 0] {
    const double sum = summed_loss(tables);
    double& loss = minus ? state->loss_minus : state->loss_plus;
    loss = first ? sum : loss + sum;
  });
}

void enqueue_gradient(Stream& stream, const zo2_gradient_args& args) {
  const Device& device = stream.device();
  check_positive("gradient", "total", args.total);
  check_positive("gradient", "eps", args.eps);
  auto* const state = reinterpret_cast<zo2_step_state*>(
      resolve(device, "gradient", args.state, {"state", sizeof(zo2_step_state), alignof(zo2_step_state), Kinds::kDeviceOnly}));
  auto* const sticky = reinterpret_cast<zo2_sticky*>(
      resolve(device, "gradient", args.sticky, {"sticky", sizeof(zo2_sticky), alignof(zo2_sticky), Kinds::kDeviceOnly}));
  stream.work(Stream::Counted::kLaunch, [state, sticky, total = args.total, eps = args.eps, step = args.step] {
    finish_gradient(state, total, eps, step, sticky);
  });
}

}  // namespace zo2::cpu
