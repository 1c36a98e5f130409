// prepare as a command: its arguments checked against the layout.
#include <algorithm>
#include <cinttypes>
#include <cmath>

#include "contract/commands.h"
#include "contract/raw.h"
#include "contract/span.h"
#include "contract/status.h"

namespace zo2::contract {
namespace {

constexpr uint32_t kDirectionEnd = 1u << 24;
// Above any table, and low enough that products with the number of directions stay below 2^64.
constexpr uint64_t kMostStride = uint64_t{1} << 56;

void check_noise(int kind, const char* what) {
  if (kind != ZO2_NOISE_GAUSSIAN && kind != ZO2_NOISE_RADEMACHER && kind != ZO2_NOISE_BUFFER) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: %s is %d; use 0 (Gaussian), 1 (Rademacher) or 2 (buffer)", what, kind);
  }
}

// `directions` tables of noise, `stride` bytes apart, that serve every canonical index of the layout; `elements`
// becomes how many a table has at most.
const float* resolve_noise(const void* device, const Layout& layout, const zo2_span& z, const char* name,
                           uint32_t directions, uint64_t stride, uint64_t* elements) {
  if (stride % sizeof(float) != 0 || stride > kMostStride) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "prepare: the stride of %s is %" PRIu64 " bytes, but must be a multiple of 4 and at most 2^56", name, stride);
  }
  const uint64_t before_last = (directions - 1) * stride;
  const uint64_t bytes = before_last + layout.canonical_end() * sizeof(float);
  uint8_t* const first = resolve(device, "prepare", z, {name, bytes, sizeof(float), Kinds::kAny});
  *elements = std::min(*elements, (memory_of(z).bytes - z.offset - before_last) / sizeof(float));
  return reinterpret_cast<const float*>(first);
}

PendingUpdate resolve_pending(const void* device, const Layout& layout, const zo2_update& update,
                              uint64_t* noise_elements) {
  check_noise(raw(update.noise), "the noise of an update");
  if (update.directions < 1 || update.directions > kMaxDirections) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: an update has %" PRIu32 " directions; use 1 to %" PRIu32,
         update.directions, kMaxDirections);
  }
  if (!std::isfinite(update.learning_rate) || !std::isfinite(update.weight_decay)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "prepare: an update has the learning rate %g and the weight decay %g, but both must be finite",
         update.learning_rate, update.weight_decay);
  }
  PendingUpdate pending{};
  pending.seed = update.seed;
  pending.learning_rate = update.learning_rate;
  pending.weight_decay = update.weight_decay;
  pending.z_stride = update.z_stride;
  pending.noise = update.noise;
  pending.step = update.step;
  pending.directions = update.directions;
  pending.states = reinterpret_cast<const zo2_step_state*>(
      resolve(device, "prepare", update.states,
              {"states of an update", update.directions * sizeof(zo2_step_state), alignof(zo2_step_state),
               Kinds::kDeviceOnly}));
  if (update.noise == ZO2_NOISE_BUFFER) {
    pending.z =
        resolve_noise(device, layout, update.z, "z of an update", update.directions, update.z_stride, noise_elements);
  }
  return pending;
}

struct Place {
  const char* name;
  const void* data;
  uint64_t bytes;
};

// What prepare writes shares no byte with what else it writes or reads; what it only reads may lie anywhere.
void check_disjoint(const std::vector<Place>& written, const std::vector<Place>& read) {
  const auto check = [](const Place& a, const Place& b) {
    if (!overlap(static_cast<const uint8_t*>(a.data), a.bytes, static_cast<const uint8_t*>(b.data), b.bytes)) return;
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: %s (%" PRIu64 " bytes) overlaps %s (%" PRIu64 " bytes)", a.name,
         a.bytes, b.name, b.bytes);
  };
  for (size_t i = 0; i < written.size(); ++i) {
    for (size_t j = 0; j < i; ++j) check(written[i], written[j]);
    for (const Place& one : read) check(written[i], one);
  }
}

void resolve_rows(const void* device, const zo2_prepare_args& args, PrepareCommand* command) {
  if (!command->layout->gathered() || args.row_count == 0) return;
  if (args.row_count > command->layout->most_rows()) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "prepare: row_count is %" PRIu64 ", but the gathered segments have room for %" PRIu64, args.row_count,
         command->layout->most_rows());
  }
  command->row_count = args.row_count;
  command->rows = reinterpret_cast<const int32_t*>(
      resolve(device, "prepare", args.rows, {"rows", args.row_count * sizeof(int32_t), sizeof(int32_t), Kinds::kAny}));
}

void check_scalars(const zo2_prepare_args& args) {
  check_noise(raw(args.noise), "noise");
  const int rounding = raw(args.rounding);
  if (rounding != ZO2_ROUND_NEAREST && rounding != ZO2_ROUND_STOCHASTIC) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: rounding is %d; use 0 (nearest) or 1 (stochastic)", rounding);
  }
  if (args.direction >= kDirectionEnd) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: direction is %" PRIu32 ", but must be below 2^24", args.direction);
  }
  if (!std::isfinite(args.eps))
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: eps is %g, but must be finite", static_cast<double>(args.eps));
  if (is_none(args.plus) && !is_none(args.minus)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: minus is given without plus; W- is made beside W+ only");
  }
  if (args.update_count != 0 && args.updates == nullptr) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: updates is null, but update_count is %" PRIu32, args.update_count);
  }
}

}  // namespace

PrepareCommand resolve_prepare(const void* device, const zo2_prepare_args& args) {
  if (args.layout == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: layout is none");
  const Layout& layout = *reinterpret_cast<const Layout*>(args.layout);
  if (layout.owner() != device) fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: the layout belongs to another device");
  check_scalars(args);

  PrepareCommand command{};
  command.layout = &layout;
  command.eps = args.eps;
  command.noise = args.noise;
  command.seed = args.seed;
  command.step = args.step;
  command.direction = args.direction;
  command.store = args.store != 0;
  command.rounding = args.rounding;
  command.noise_elements = UINT64_MAX;
  resolve_rows(device, args, &command);

  std::vector<Place> written;
  const auto written_place = [&](const zo2_span& span, const char* name, uint64_t bytes) {
    uint8_t* const data = resolve(device, "prepare", span, {name, bytes, sizeof(float), Kinds::kDeviceOnly});
    written.push_back({name, data, bytes});
    return data;
  };
  command.wire = written_place(args.wire, "wire", layout.wire_bytes(command.row_count));
  const uint64_t scratch = layout.scratch_bytes(command.row_count);
  if (!is_none(args.plus)) command.plus = written_place(args.plus, "plus", scratch);
  if (!is_none(args.minus)) command.minus = written_place(args.minus, "minus", scratch);
  if (args.update_count != 0) {
    command.sticky = reinterpret_cast<zo2_sticky*>(written_place(args.sticky, "sticky", sizeof(zo2_sticky)));
  }

  const bool draws = command.plus != nullptr && (command.minus != nullptr || command.eps != 0);
  if (draws && args.noise == ZO2_NOISE_BUFFER)
    command.z = resolve_noise(device, layout, args.z, "z", 1, 0, &command.noise_elements);
  std::vector<Place> read{{"rows", command.rows, command.row_count * sizeof(int32_t)}};
  for (uint32_t i = 0; i < args.update_count; ++i) {
    command.updates.push_back(resolve_pending(device, layout, args.updates[i], &command.noise_elements));
    read.push_back(
        {"states of an update", command.updates.back().states, args.updates[i].directions * sizeof(zo2_step_state)});
  }
  check_disjoint(written, read);
  return command;
}

}  // namespace zo2::contract
