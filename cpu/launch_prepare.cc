// prepare as a command: its arguments checked against the layout, its elements cut into chunks for the pool.
#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <vector>

#include "cpu/device.h"
#include "cpu/launch.h"
#include "cpu/layout.h"
#include "cpu/prepare.h"
#include "cpu/raw.h"
#include "cpu/span.h"
#include "cpu/status.h"

namespace zo2::cpu {
namespace {

// Elements of one chunk: a tenth of a millisecond of Gaussian noise. A multiple of the 128 elements that share a noise counter.
constexpr uint64_t kChunk = 65536;
constexpr uint32_t kDirectionEnd = 1u << 24;
// Above any table, and low enough that products with the number of directions stay below 2^64.
constexpr uint64_t kMostStride = uint64_t{1} << 56;

// An update whose places are known; its projected gradients are read when the command runs.
struct PendingUpdate {
  zo2_update update;
  const zo2_step_state* states;
  const float* z;
};

// A prepare command, resolved. `job` has everything but the updates.
struct Command {
  const Layout* layout;
  PrepareJob job;
  std::vector<PendingUpdate> updates;
  zo2_sticky* sticky;
  // Elements of the shortest buffer of noise; unlimited when none is used.
  uint64_t noise_elements = UINT64_MAX;
};

struct Chunk {
  uint64_t segment;
  uint64_t begin;
  uint64_t end;
};

void check_noise(int kind, const char* what) {
  if (kind != ZO2_NOISE_GAUSSIAN && kind != ZO2_NOISE_RADEMACHER && kind != ZO2_NOISE_BUFFER) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: %s is %d; use 0 (Gaussian), 1 (Rademacher) or 2 (buffer)", what, kind);
  }
}

// `directions` tables of noise, `stride` bytes apart, that serve every canonical index of the layout; `elements` becomes how many a table
// has at most.
const float* resolve_noise(const Device& device, const Layout& layout, const zo2_span& z, const char* name, uint32_t directions, uint64_t stride,
                           uint64_t* elements) {
  if (stride % sizeof(float) != 0 || stride > kMostStride) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: the stride of %s is %" PRIu64 " bytes, but must be a multiple of 4 and at most 2^56", name, stride);
  }
  const uint64_t before_last = (directions - 1) * stride;
  const uint64_t bytes = before_last + layout.canonical_end() * sizeof(float);
  uint8_t* const first = resolve(device, "prepare", z, {name, bytes, sizeof(float), Kinds::kAny});
  *elements = std::min(*elements, (buffer_of(z).bytes() - z.offset - before_last) / sizeof(float));
  return reinterpret_cast<const float*>(first);
}

PendingUpdate resolve_pending(const Device& device, const Layout& layout, const zo2_update& update, uint64_t* noise_elements) {
  check_noise(raw(update.noise), "the noise of an update");
  if (update.directions < 1 || update.directions > kMaxDirections) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: an update has %" PRIu32 " directions; use 1 to %" PRIu32, update.directions, kMaxDirections);
  }
  if (!std::isfinite(update.learning_rate) || !std::isfinite(update.weight_decay)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: an update has the learning rate %g and the weight decay %g, but both must be finite",
         update.learning_rate, update.weight_decay);
  }
  PendingUpdate pending{update, nullptr, nullptr};
  pending.states = reinterpret_cast<const zo2_step_state*>(
      resolve(device, "prepare", update.states,
              {"states of an update", update.directions * sizeof(zo2_step_state), alignof(zo2_step_state), Kinds::kDeviceOnly}));
  if (update.noise == ZO2_NOISE_BUFFER) {
    pending.z = resolve_noise(device, layout, update.z, "z of an update", update.directions, update.z_stride, noise_elements);
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
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: %s (%" PRIu64 " bytes) overlaps %s (%" PRIu64 " bytes)", a.name, a.bytes, b.name, b.bytes);
  };
  for (size_t i = 0; i < written.size(); ++i) {
    for (size_t j = 0; j < i; ++j) check(written[i], written[j]);
    for (const Place& one : read) check(written[i], one);
  }
}

void resolve_rows(const Device& device, const zo2_prepare_args& args, Command* command) {
  if (!command->layout->gathered() || args.row_count == 0) return;
  if (args.row_count > command->layout->most_rows()) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: row_count is %" PRIu64 ", but the gathered segments have room for %" PRIu64, args.row_count,
         command->layout->most_rows());
  }
  command->job.row_count = args.row_count;
  command->job.rows = reinterpret_cast<const int32_t*>(
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
  if (!std::isfinite(args.eps)) fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: eps is %g, but must be finite", static_cast<double>(args.eps));
  if (is_none(args.plus) && !is_none(args.minus)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: minus is given without plus; W- is made beside W+ only");
  }
  if (args.update_count != 0 && args.updates == nullptr) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: updates is null, but update_count is %" PRIu32, args.update_count);
  }
}

Command resolve_command(const Device& device, const zo2_prepare_args& args) {
  if (args.layout == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: layout is none");
  const Layout& layout = *reinterpret_cast<const Layout*>(args.layout);
  if (&layout.device() != &device) fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: the layout belongs to another device");
  check_scalars(args);

  Command command{};
  command.layout = &layout;
  PrepareJob& job = command.job;
  job.segments = layout.segments().data();
  job.segment_count = layout.segments().size();
  job.eps = args.eps;
  job.noise = args.noise;
  job.seed = args.seed;
  job.step = args.step;
  job.direction = args.direction;
  job.store = args.store != 0;
  job.rounding = args.rounding;
  job.generic = !device.vectorised();
  resolve_rows(device, args, &command);

  std::vector<Place> written;
  const auto written_place = [&](const zo2_span& span, const char* name, uint64_t bytes) {
    uint8_t* const data = resolve(device, "prepare", span, {name, bytes, sizeof(float), Kinds::kDeviceOnly});
    written.push_back({name, data, bytes});
    return data;
  };
  job.wire = written_place(args.wire, "wire", layout.wire_bytes(job.row_count));
  const uint64_t scratch = layout.scratch_bytes(job.row_count);
  if (!is_none(args.plus)) job.plus = written_place(args.plus, "plus", scratch);
  if (!is_none(args.minus)) job.minus = written_place(args.minus, "minus", scratch);
  if (args.update_count != 0) {
    command.sticky = reinterpret_cast<zo2_sticky*>(written_place(args.sticky, "sticky", sizeof(zo2_sticky)));
  }

  const bool draws = job.plus != nullptr && (job.minus != nullptr || job.eps != 0);
  if (draws && args.noise == ZO2_NOISE_BUFFER) job.z = resolve_noise(device, layout, args.z, "z", 1, 0, &command.noise_elements);
  std::vector<Place> read{{"rows", job.rows, job.row_count * sizeof(int32_t)}};
  for (uint32_t i = 0; i < args.update_count; ++i) {
    command.updates.push_back(resolve_pending(device, layout, args.updates[i], &command.noise_elements));
    read.push_back({"states of an update", command.updates.back().states, args.updates[i].directions * sizeof(zo2_step_state)});
  }
  check_disjoint(written, read);
  return command;
}

// Chunks begin at canonical indices that are multiples of kChunk (gathered: at whole rows), so that they share no noise counter.
std::vector<Chunk> cut(const PrepareJob& job) {
  std::vector<Chunk> chunks;
  for (uint64_t segment = 0; segment < job.segment_count; ++segment) {
    const zo2_segment& s = job.segments[segment];
    const bool gathered = (s.flags & ZO2_SEGMENT_GATHERED) != 0;
    const uint64_t size = gathered ? std::max<uint64_t>(1, kChunk / s.row_width) * s.row_width : kChunk;
    const uint64_t skew = gathered ? 0 : s.canonical % kChunk;
    const uint64_t count = prepare_elements(job, segment);
    for (uint64_t begin = 0; begin < count;) {
      const uint64_t end = std::min(count, begin + size - (begin == 0 ? skew : 0));
      chunks.push_back({segment, begin, end});
      begin = end;
    }
  }
  return chunks;
}

void check_rows(const Command& command) {
  const PrepareJob& job = command.job;
  for (const zo2_segment& s : command.layout->segments()) {
    if ((s.flags & ZO2_SEGMENT_GATHERED) == 0) continue;
    for (uint64_t i = 0; i < job.row_count; ++i) {
      const int64_t row = job.rows[i];
      const bool frozen = (s.flags & ZO2_SEGMENT_FROZEN) != 0;
      if (row < 0 || (!frozen && s.canonical + (static_cast<uint64_t>(row) + 1) * s.row_width > command.noise_elements)) {
        fail(ZO2_STATUS_INVALID_ARGUMENT, "prepare: rows[%" PRIu64 "] is %" PRId64 ", %s", i, row,
             row < 0 ? "but row numbers start at 0" : "whose elements lie past the end of the noise buffer");
      }
    }
  }
}

void run_prepare(const Command& command, ThreadPool& pool) {
  check_rows(command);
  std::vector<ResolvedUpdate> updates;
  updates.reserve(command.updates.size());
  for (const PendingUpdate& pending : command.updates) updates.push_back(resolve_update(pending.update, pending.states, pending.z));
  PrepareJob job = command.job;
  job.updates = updates.data();
  job.update_count = static_cast<uint32_t>(updates.size());

  const std::vector<Chunk> chunks = cut(job);
  std::vector<PrepareFlags> flags(pool.size());
  pool.parallel_for(static_cast<int64_t>(chunks.size()), [&](int64_t i, unsigned worker) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    prepare_range(job, chunk.segment, chunk.begin, chunk.end, &flags[worker]);
  });
  if (command.sticky == nullptr) return;
  PrepareFlags all;
  prepare_check_updates(job, &all);
  for (const PrepareFlags& one : flags) merge_flags(&all, one);
  raise_sticky(command.sticky, job, all);
}

}  // namespace

void enqueue_prepare(Stream& stream, const zo2_prepare_args& args) {
  // Shared, because std::function copies; the list of updates is copied once.
  auto command = std::make_shared<const Command>(resolve_command(stream.device(), args));
  Device& device = stream.device();
  stream.work(Stream::Counted::kLaunch, [&device, command] { run_prepare(*command, device.pool()); });
}

}  // namespace zo2::cpu
