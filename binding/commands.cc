#include "commands.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <string>
#include <utility>

#include "contract/names.h"
#include "errors.h"
#include "words.h"

namespace zo2::binding {
namespace {

constexpr uint32_t kLargestDirection = (1u << 24) - 1;

zo2_update decode_update(WordReader& in) {
  zo2_update update{};
  update.noise = in.choice("update noise", ZO2_NOISE_LOW_RANK);
  update.rank = in.integer32("update rank");
  update.interval = in.integer32("update interval");
  update.seed = in.seed("update seed");
  update.step = in.integer32("update step");
  update.directions = in.integer32("update directions");
  update.coefficients = in.span("update coefficients");
  update.learning_rate = in.finite("update learning rate");
  update.weight_decay = in.finite("update weight decay");
  update.z = in.optional_span("update z");
  update.z_stride = in.integer("update z stride");
  return update;
}

zo2_side decode_side(WordReader& in) {
  zo2_side side{};
  side.scratch = in.span("scratch of a side");
  side.eps = in.finite_float("eps of a side");
  return side;
}

command::Prepare decode_prepare(WordReader& in) {
  command::Prepare out{};
  zo2_prepare_args& args = out.args;
  args.layout = in.handle<zo2_layout>(Kind::kLayout, "layout");
  args.wire = in.span("wire");
  args.rows = in.optional_span("rows");
  args.row_count = in.integer("row count");
  args.noise = in.choice("noise", ZO2_NOISE_LOW_RANK);
  args.rank = in.integer32("rank");
  args.interval = in.integer32("interval");
  args.seed = in.seed("seed");
  args.step = in.integer32("step");
  args.direction = static_cast<uint32_t>(in.integer("direction", kLargestDirection));
  args.z = in.optional_span("z");
  args.store = in.flag("store");
  args.rounding = in.choice("rounding", ZO2_ROUND_STOCHASTIC);
  args.sticky = in.optional_span("sticky");
  args.side_count = in.count("side count");
  for (uint32_t i = 0; i < args.side_count; ++i) out.sides.push_back(decode_side(in));
  args.update_count = in.count("update count");
  for (uint32_t i = 0; i < args.update_count; ++i) out.updates.push_back(decode_update(in));
  return out;
}

command::Run decode_run(WordReader& in) {
  command::Run out{};
  out.args.program = in.handle<zo2_program>(Kind::kProgram, "program");
  for (int s = 0; s < ZO2_SPACES; ++s) out.args.spaces[s] = in.optional_span(contract::kSpaceNames[s]);
  for (int s = 0; s < ZO2_SYMBOLS; ++s) out.args.symbols[s] = in.integer(contract::kSymbolNames[s]);
  return out;
}

command::Loss decode_loss(WordReader& in) {
  command::Loss out{};
  out.args.kind = in.choice("kind", ZO2_LOSS_SPANS);
  out.args.values = in.span("values");
  out.args.targets = in.integer("targets");
  out.args.labels = in.optional_span("labels");
  out.args.choices = in.optional_span("choices");
  out.args.choice_count = in.integer("choice count");
  out.args.examples = in.optional_span("examples");
  out.args.example_count = in.integer("example count");
  out.args.losses = in.span("losses");
  out.args.probe = in.integer32("probe");
  out.args.first = in.flag("first");
  return out;
}

command::Gradient decode_gradient(WordReader& in) {
  command::Gradient out{};
  zo2_gradient_args& args = out.args;
  args.losses = in.span("losses");
  args.probe_count = in.integer32("probe count");
  args.total = in.finite("total");
  args.divisor = in.finite("divisor");
  args.shaping = in.choice("shaping", ZO2_SHAPING_RANK);
  args.normalised = in.flag("normalised");
  args.coefficients = in.span("coefficients");
  args.step = in.integer32("step");
  args.sticky = in.span("sticky");
  args.direction_count = in.count("difference count");
  for (uint32_t i = 0; i < args.direction_count; ++i) {
    const uint32_t minuend = in.integer32("minuend");
    out.differences.push_back({minuend, in.optional_integer32("subtrahend", ZO2_NO_PROBE)});
  }
  return out;
}

command::Copy decode_copy(WordReader& in) {
  command::Copy out{};
  out.dst = in.span("destination");
  out.src = in.span("source");
  out.bytes = in.integer("bytes");
  in.reaches(out.dst, out.bytes, "bytes at the destination");
  in.reaches(out.src, out.bytes, "bytes at the source");
  return out;
}

command::Fill decode_fill(WordReader& in) {
  command::Fill out{};
  out.dst = in.span("destination");
  out.byte = static_cast<uint8_t>(in.integer("byte", 255));
  out.bytes = in.integer("bytes");
  in.reaches(out.dst, out.bytes, "bytes");
  return out;
}

// Whether the source holds the rows is known only when their numbers are read, on the stream.
command::Gather decode_gather(WordReader& in) {
  command::Gather out{};
  out.dst = in.span("destination");
  out.src = in.span("source");
  out.rows = in.span("rows");
  out.count = in.integer("count");
  out.row_base = in.signed_integer("row base");
  out.row_bytes = in.integer("row bytes");
  if (out.row_bytes != 0 && out.count > kMaxInteger / out.row_bytes) in.reaches(out.dst, UINT64_MAX, "row bytes");
  in.reaches(out.dst, out.count * out.row_bytes, "row bytes");
  in.reaches(out.rows, out.count * sizeof(int32_t), "count of row numbers");
  return out;
}

command::Seal decode_seal(WordReader& in) {
  command::Seal out{};
  out.seal = in.span("seal");
  out.index = in.integer("index");
  out.memory = in.span("memory");
  out.bytes = in.integer("bytes");
  out.note = in.span("note");
  in.reaches(out.seal, ZO2_SEAL_BYTES, "bytes of a seal");
  in.reaches(out.memory, out.bytes, "bytes");
  in.reaches(out.note, ZO2_SEAL_NOTE_BYTES, "bytes of a note");
  return out;
}

CommandBody decode_body(Opcode opcode, WordReader& in) {
  switch (opcode) {
    case Opcode::kRecord:
      return command::Record{in.handle<zo2_event>(Kind::kEvent, "event")};
    case Opcode::kWait:
      return command::Wait{in.handle<zo2_event>(Kind::kEvent, "event")};
    case Opcode::kHold:
      return command::Hold{in.handle<zo2_gate>(Kind::kGate, "gate")};
    case Opcode::kCopy:
      return decode_copy(in);
    case Opcode::kFill:
      return decode_fill(in);
    case Opcode::kGather:
      return decode_gather(in);
    case Opcode::kSeal:
      return decode_seal(in);
    case Opcode::kPrepare:
      return decode_prepare(in);
    case Opcode::kRun:
      return decode_run(in);
    case Opcode::kLoss:
      return decode_loss(in);
    default:
      return decode_gradient(in);
  }
}

struct Issuer {
  const zo2_backend& backend;
  zo2_stream* const stream;
  zo2_error* const error;

  zo2_status operator()(const command::Record& c) const { return backend.stream_record(stream, c.event, error); }
  zo2_status operator()(const command::Wait& c) const { return backend.stream_wait(stream, c.event, error); }
  zo2_status operator()(const command::Hold& c) const { return backend.stream_hold(stream, c.gate, error); }
  zo2_status operator()(const command::Copy& c) const { return backend.copy(stream, c.dst, c.src, c.bytes, error); }
  zo2_status operator()(const command::Fill& c) const { return backend.fill(stream, c.dst, c.byte, c.bytes, error); }
  zo2_status operator()(const command::Gather& c) const {
    return backend.gather(stream, c.dst, c.src, c.rows, c.count, c.row_base, c.row_bytes, error);
  }
  zo2_status operator()(const command::Seal& c) const {
    return backend.seal(stream, c.seal, c.index, c.memory, c.bytes, c.note, error);
  }
  zo2_status operator()(const command::Prepare& c) const {
    zo2_prepare_args args = c.args;
    args.sides = c.sides.data();
    args.updates = c.updates.data();
    return backend.prepare(stream, &args, error);
  }
  zo2_status operator()(const command::Run& c) const { return backend.run(stream, &c.args, error); }
  zo2_status operator()(const command::Loss& c) const { return backend.loss(stream, &c.args, error); }
  zo2_status operator()(const command::Gradient& c) const {
    zo2_gradient_args args = c.args;
    args.differences = c.differences.data();
    return backend.gradient(stream, &args, error);
  }
};

}  // namespace

std::shared_ptr<CommandList> decode(const double* words, size_t count, std::vector<std::shared_ptr<Resource>> handles,
                                    const char* what) {
  auto list = std::make_shared<CommandList>();
  list->references = std::move(handles);
  for (size_t at = 0; at < count;) {
    const size_t number = list->commands.size();
    const double opcode = words[at];
    if (!(opcode >= 1 && opcode <= static_cast<double>(kCommands)) || opcode != std::floor(opcode)) {
      fail(code::kInvalidArgument, "%s: command %zu, word %zu: %.17g is not an opcode (1 .. %zu)", what, number, at,
           opcode, kCommands);
    }
    const char* name = kCommandNames[static_cast<size_t>(opcode) - 1];
    if (at + 1 == count)
      fail(code::kInvalidArgument, "%s: command %zu (%s) ends at word %zu, before its length", what, number, name,
           at + 1);
    const double length = words[at + 1];
    const size_t left = count - at - 2;
    if (!(length >= 0 && length <= static_cast<double>(left)) || length != std::floor(length)) {
      fail(code::kInvalidArgument, "%s: command %zu (%s), word %zu: a length of %.17g with %zu words left", what,
           number, name, at + 1, length, left);
    }
    const size_t end = at + 2 + static_cast<size_t>(length);
    WordReader in(words, at + 2, end, list->references,
                  std::string(what) + ": command " + std::to_string(number) + " (" + name + ")");
    auto* stream = in.handle<zo2_stream>(Kind::kStream, "stream");
    list->commands.push_back({stream, decode_body(static_cast<Opcode>(opcode), in)});
    in.finish();
    if (std::find(list->streams.begin(), list->streams.end(), stream) == list->streams.end())
      list->streams.push_back(stream);
    at = end;
  }
  return list;
}

zo2_status issue(const zo2_backend& backend, const Command& command, zo2_error* error) {
  return std::visit(Issuer{backend, command.stream, error}, command.body);
}

}  // namespace zo2::binding
