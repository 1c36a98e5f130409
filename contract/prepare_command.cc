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
constexpr const char* kScratchNames[kMaxSides] = {"sides[0].scratch", "sides[1].scratch"};
// Above any table, and low enough that products with the number of directions stay below 2^64.
constexpr uint64_t kMostStride = uint64_t{1} << 56;

void check_noise(int kind, const char* what) {
  if (kind != ZO2_NOISE_GAUSSIAN && kind != ZO2_NOISE_RADEMACHER && kind != ZO2_NOISE_BUFFER &&
      kind != ZO2_NOISE_LOW_RANK) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: %s is %d; use 0 (Gaussian), 1 (Rademacher), 2 (buffer) or 3 (low rank)",
         what, kind);
  }
}

// What LOW_RANK noise is a function of besides; of an update or of the pass.
template <class Args, class Resolved>
void resolve_rank(const Args& args, const char* what, Resolved* resolved) {
  if (args.noise != ZO2_NOISE_LOW_RANK) return;
  if (args.rank < 1 || args.rank > kMaxRank || args.interval < 1) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "prepare: the low-rank noise of %s has rank %" PRIu32 " and an interval of %" PRIu32
         " steps; use a rank of 1 to %" PRIu32 " and at least one step",
         what, args.rank, args.interval, kMaxRank);
  }
  resolved->rank = args.rank;
  resolved->column_step = args.step - args.step % args.interval;
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
  resolve_rank(update, "an update", &pending);
  pending.coefficients = reinterpret_cast<const zo2_coefficient*>(
      resolve(device, "prepare", update.coefficients,
              {"coefficients of an update", update.directions * sizeof(zo2_coefficient), alignof(zo2_coefficient),
               Kinds::kDeviceOnly}));
  if (update.noise == ZO2_NOISE_BUFFER) {
    pending.z =
        resolve_noise(device, layout, update.z, "z of an update", update.directions, update.z_stride, noise_elements);
  }
  return pending;
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
  if (args.side_count > kMaxSides) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: side_count is %" PRIu32 ", but may be at most %" PRIu32,
         args.side_count, kMaxSides);
  }
  if (args.side_count != 0 && args.sides == nullptr) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: sides is null, but side_count is %" PRIu32, args.side_count);
  }
  for (uint32_t s = 0; s < args.side_count; ++s) {
    if (!std::isfinite(args.sides[s].eps)) {
      fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: sides[%" PRIu32 "].eps is %g, but must be finite", s,
           static_cast<double>(args.sides[s].eps));
    }
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
  command.noise = args.noise;
  command.seed = args.seed;
  command.step = args.step;
  command.direction = args.direction;
  resolve_rank(args, "the sides", &command);
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
  for (uint32_t s = 0; s < args.side_count; ++s) {
    command.sides[s] = {written_place(args.sides[s].scratch, kScratchNames[s], scratch), args.sides[s].eps};
    command.draws = command.draws || args.sides[s].eps != 0;
  }
  command.side_count = args.side_count;
  if (args.update_count != 0) {
    command.sticky = reinterpret_cast<zo2_sticky*>(written_place(args.sticky, "sticky", sizeof(zo2_sticky)));
  }

  if (command.draws && args.noise == ZO2_NOISE_BUFFER)
    command.z = resolve_noise(device, layout, args.z, "z", 1, 0, &command.noise_elements);
  std::vector<Place> read{{"rows", command.rows, command.row_count * sizeof(int32_t)}};
  for (uint32_t i = 0; i < args.update_count; ++i) {
    command.updates.push_back(resolve_pending(device, layout, args.updates[i], &command.noise_elements));
    read.push_back({"coefficients of an update", command.updates.back().coefficients,
                    args.updates[i].directions * sizeof(zo2_coefficient)});
  }
  check_disjoint("prepare", written, read);
  return command;
}

}  // namespace zo2::contract
