#include "contract/commands.h"

#include <cinttypes>
#include <cmath>

#include "contract/names.h"
#include "contract/raw.h"
#include "contract/span.h"
#include "contract/status.h"

namespace zo2::contract {
namespace {

void check_positive(const char* command, const char* field, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "%s: %s is %g, but must be a positive finite number", command, field, value);
  }
}

void check_writable(const char* what, const Memory& file) {
  if (!file.read_only) return;
  fail(ZO2_STATUS_INVALID_ARGUMENT, "%s is a file that was opened to be read; write to one that was made", what);
}

void check_probe(uint32_t direction, const char* field, uint32_t probe, uint32_t count) {
  if (probe < count) return;
  fail(ZO2_STATUS_INVALID_ARGUMENT,
       "gradient: differences[%" PRIu32 "].%s is %" PRIu32 ", but there are %" PRIu32 " probes", direction, field,
       probe, count);
}

// A table of `rows` rows of `columns` elements of 4 bytes; null when it is empty.
template <typename Element = int32_t>
const Element* resolve_table(const void* device, const zo2_span& span, const char* name, uint64_t rows,
                             uint64_t columns) {
  if (rows == 0) return nullptr;
  static_assert(sizeof(Element) == 4, "tables have elements of 4 bytes");
  if (rows > UINT64_MAX / (columns * sizeof(Element))) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: %s has %" PRIu64 " rows, more than 2^64 bytes", name, rows);
  }
  return reinterpret_cast<const Element*>(
      resolve(device, "loss", span, {name, rows * columns * sizeof(Element), sizeof(Element), Kinds::kAny}));
}

// Throws when the rows of a gather cannot be counted in bytes.
void check_row_bytes(uint64_t count, uint64_t row_bytes) {
  if (row_bytes == 0) fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: row_bytes is 0, but must be at least 1");
  if (count > UINT64_MAX / sizeof(int32_t) || count > UINT64_MAX / row_bytes) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gather: %" PRIu64 " rows of %" PRIu64 " bytes are more than 2^64 bytes", count,
         row_bytes);
  }
}

const int32_t* resolve_row_list(const void* device, const zo2_span& rows, uint64_t count) {
  return reinterpret_cast<const int32_t*>(
      resolve(device, "gather", rows, {"rows", count * sizeof(int32_t), sizeof(int32_t), Kinds::kHostOnly}));
}

}  // namespace

CopyCommand resolve_copy(const void* device, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  uint8_t* const to = resolve(device, "copy", dst, {"dst", bytes, 1, Kinds::kAny});
  const uint8_t* const from = resolve(device, "copy", src, {"src", bytes, 1, Kinds::kAny});
  if (overlap(to, bytes, from, bytes)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "copy: %" PRIu64 " bytes at offset %" PRIu64 " overlap the source at offset %" PRIu64 " of the same buffer",
         bytes, dst.offset, src.offset);
  }
  return {to, from, bytes};
}

FillCommand resolve_fill(const void* device, const zo2_span& dst, uint8_t byte, uint64_t bytes) {
  return {resolve(device, "fill", dst, {"dst", bytes, 1, Kinds::kAny}), byte, bytes};
}

GatherCommand resolve_gather(const void* device, const zo2_span& dst, const zo2_span& src, const zo2_span& rows,
                             uint64_t count, int64_t row_base, uint64_t row_bytes) {
  check_row_bytes(count, row_bytes);
  GatherCommand command{};
  command.to = resolve(device, "gather", dst, {"dst", count * row_bytes, 1, Kinds::kAny});
  command.from = resolve(device, "gather", src, {"src", 0, 1, Kinds::kAny});
  command.rows = resolve_row_list(device, rows, count);
  command.count = count;
  command.row_base = row_base;
  command.row_bytes = row_bytes;
  command.present = (memory_of(src).bytes - src.offset) / row_bytes;
  return command;
}

FileCopyCommand resolve_file_copy(const void* device, const zo2_span& dst, const zo2_span& src, uint64_t bytes) {
  const bool write = in_file(dst);
  const zo2_span& file = write ? dst : src;
  resolve(device, "copy", file, {write ? "dst" : "src", bytes, 1, Kinds::kFileOnly});
  uint8_t* const memory =
      resolve(device, "copy", write ? src : dst, {write ? "src" : "dst", bytes, 1, Kinds::kHostOnly});
  if (write) check_writable("copy: dst", memory_of(file));
  return {&memory_of(file), file.offset, memory, bytes, write};
}

FileGatherCommand resolve_file_gather(const void* device, const zo2_span& dst, const zo2_span& src,
                                      const zo2_span& rows, uint64_t count, int64_t row_base, uint64_t row_bytes) {
  check_row_bytes(count, row_bytes);
  FileGatherCommand command{};
  command.to = resolve(device, "gather", dst, {"dst", count * row_bytes, 1, Kinds::kHostOnly});
  resolve(device, "gather", src, {"src", 0, 1, Kinds::kFileOnly});
  command.rows = resolve_row_list(device, rows, count);
  command.file = &memory_of(src);
  command.offset = src.offset;
  command.count = count;
  command.row_base = row_base;
  command.row_bytes = row_bytes;
  command.present = (command.file->bytes - src.offset) / row_bytes;
  return command;
}

SealCommand resolve_seal(const void* device, const zo2_span& seal, uint64_t index, const zo2_span& memory,
                         uint64_t bytes, const zo2_span& note) {
  resolve(device, "seal", seal, {"seal", ZO2_SEAL_BYTES, ZO2_SEAL_BYTES, Kinds::kFileOnly});
  check_writable("seal: seal", memory_of(seal));
  SealCommand command{};
  command.file = &memory_of(seal);
  command.offset = seal.offset;
  command.index = index;
  command.memory = resolve(device, "seal", memory, {"memory", bytes, 1, Kinds::kHostOnly});
  command.bytes = bytes;
  command.note = resolve(device, "seal", note, {"note", ZO2_SEAL_NOTE_BYTES, 1, Kinds::kHostOnly});
  return command;
}

RunCommand resolve_run(const void* device, const zo2_run_args& args) {
  if (args.program == nullptr) fail(ZO2_STATUS_INVALID_ARGUMENT, "run: program is none");
  const Program& program = *reinterpret_cast<const Program*>(args.program);
  if (program.owner() != device) fail(ZO2_STATUS_INVALID_ARGUMENT, "run: the program belongs to another device");
  RunCommand command{};
  command.program = &program;
  for (int s = 0; s < ZO2_SYMBOLS; ++s) {
    command.symbols[s] = args.symbols[s];
    if (args.symbols[s] > program.symbol_maximum(s)) {
      fail(ZO2_STATUS_INVALID_ARGUMENT,
           "run: symbol %d (%s) is %" PRIu64 ", but the program was made for at most %" PRIu64, s, kSymbolNames[s],
           args.symbols[s], program.symbol_maximum(s));
    }
  }
  for (int s = 0; s < ZO2_SPACES; ++s) {
    if (!program.uses(s)) continue;
    command.spaces[s] = resolve(device, "run", args.spaces[s],
                                {"spaces", program.required(s), sizeof(float), Kinds::kDeviceOnly, kSpaceNames[s]});
  }
  return command;
}

LossCommand resolve_loss(const void* device, const zo2_loss_args& args) {
  const int kind = raw(args.kind);
  if (kind < ZO2_LOSS_TOKENS || kind > ZO2_LOSS_SPANS) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "loss: kind is %d; use 0 (tokens), 1 (mean of a choice), 2 (sum of a choice), 3 (binary), 4 (squared) or 5 "
         "(spans)",
         kind);
  }
  if (args.targets > UINT64_MAX / sizeof(float))
    fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: %" PRIu64 " targets are more than 2^64 bytes", args.targets);
  if (kind == ZO2_LOSS_SPANS && args.targets % 2 != 0) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "loss: targets is %" PRIu64 ", but every row of spans has two logits",
         args.targets);
  }
  LossCommand command{};
  command.kind = args.kind;
  command.targets = args.targets;
  command.values = reinterpret_cast<const float*>(resolve(
      device, "loss", args.values, {"values", args.targets * sizeof(float), sizeof(float), Kinds::kDeviceOnly}));
  if (kind == ZO2_LOSS_BINARY || kind == ZO2_LOSS_SQUARED)
    command.labels = resolve_table<float>(device, args.labels, "labels", args.targets, 1);
  const bool choices = kind == ZO2_LOSS_CHOICES_MEAN || kind == ZO2_LOSS_CHOICES_SUM;
  if (choices) {
    command.choice_count = args.choice_count;
    command.choices = resolve_table(device, args.choices, "choices", args.choice_count, 2);
  }
  if (choices || kind == ZO2_LOSS_SPANS) {
    command.example_count = args.example_count;
    command.examples = resolve_table(device, args.examples, "examples", args.example_count, choices ? 3 : 4);
  }
  const uint64_t losses = (uint64_t{args.probe} + 1) * sizeof(double);
  command.loss = reinterpret_cast<double*>(
                     resolve(device, "loss", args.losses, {"losses", losses, alignof(double), Kinds::kDeviceOnly})) +
                 args.probe;
  command.first = args.first != 0;
  return command;
}

GradientCommand resolve_gradient(const void* device, const zo2_gradient_args& args) {
  check_positive("gradient", "total", args.total);
  check_positive("gradient", "divisor", args.divisor);
  if (args.direction_count < 1 || args.direction_count > kMaxDirections) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gradient: direction_count is %" PRIu32 "; use 1 to %" PRIu32,
         args.direction_count, kMaxDirections);
  }
  if (args.differences == nullptr) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gradient: differences is null, but direction_count is %" PRIu32,
         args.direction_count);
  }
  const int shaping = raw(args.shaping);
  if (shaping < ZO2_SHAPING_NONE || shaping > ZO2_SHAPING_RANK) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gradient: shaping %d is none of the contract's", shaping);
  }
  if (shaping == ZO2_SHAPING_RANK && args.probe_count < 2) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "gradient: probe_count is %" PRIu32 ", but ranks need at least 2 probes",
         args.probe_count);
  }
  GradientCommand command{};
  for (uint32_t d = 0; d < args.direction_count; ++d) {
    const zo2_difference& difference = args.differences[d];
    check_probe(d, "minuend", difference.minuend, args.probe_count);
    if (difference.subtrahend != ZO2_NO_PROBE) check_probe(d, "subtrahend", difference.subtrahend, args.probe_count);
    command.differences[d] = difference;
  }
  std::vector<Place> written;
  const auto written_place = [&](const zo2_span& span, const char* name, uint64_t bytes, uint64_t alignment) {
    uint8_t* const data = resolve(device, "gradient", span, {name, bytes, alignment, Kinds::kDeviceOnly});
    written.push_back({name, data, bytes});
    return data;
  };
  command.losses = reinterpret_cast<double*>(
      written_place(args.losses, "losses", args.probe_count * sizeof(double), alignof(double)));
  command.coefficients = reinterpret_cast<zo2_coefficient*>(written_place(
      args.coefficients, "coefficients", args.direction_count * sizeof(zo2_coefficient), alignof(zo2_coefficient)));
  command.sticky =
      reinterpret_cast<zo2_sticky*>(written_place(args.sticky, "sticky", sizeof(zo2_sticky), alignof(zo2_sticky)));
  check_disjoint("gradient", written, {});
  command.probe_count = args.probe_count;
  command.direction_count = args.direction_count;
  command.total = args.total;
  command.divisor = args.divisor;
  command.shaping = args.shaping;
  command.normalised = args.normalised != 0;
  command.step = args.step;
  return command;
}

}  // namespace zo2::contract
