// When the CUDA backend asks for memory: when something is made, never while commands are enqueued.
#include <cinttypes>
#include <string>
#include <vector>

#include "emulated.h"
#include "rig.h"

extern "C" uint64_t zo2_emu_memory_calls(void);

using zo2::test::Rig;

namespace {

constexpr uint64_t kDepth = 8;

// The log-probabilities of one target: the op that works in scratch.
struct Head {
  Head(Rig& rig, uint64_t rows, uint64_t vocabulary) : rig(rig) {
    const auto place = [](int space, double offset, int dtype, double count, double columns) {
      return std::vector<double>{double(space), offset, double(dtype), count, columns, columns};
    };
    std::vector<double> words = {3, 5, 1, ZO2_SYMBOLS, 1, 1, double(rows), 1, 1};
    for (const auto& operand : {place(ZO2_SPACE_RESULTS, 0, ZO2_F32, -1 - ZO2_SYMBOL_TARGETS, 1),
                                place(ZO2_SPACE_CARRIED, 0, ZO2_F32, -1 - ZO2_SYMBOL_HEAD_ROWS, 2),
                                place(ZO2_SPACE_WORKSPACE, 0, ZO2_F32, -1 - ZO2_SYMBOL_HEAD_ROWS, kDepth),
                                place(ZO2_SPACE_WEIGHTS, 0, ZO2_F32, double(vocabulary), kDepth),
                                place(ZO2_SPACE_INPUTS, 0, ZO2_I32, -1 - ZO2_SYMBOL_TARGETS, 2)})
      words.insert(words.end(), operand.begin(), operand.end());
    for (const double word : {double(ZO2_OP_CROSS_ENTROPY), 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 3.0})
      words.push_back(word);
    uint64_t bytes[ZO2_SPACES] = {vocabulary * kDepth * 4, rows * 8, rows * kDepth * 4, 8, 4, 0};
    args.program = rig.program(words, bytes);
    for (size_t s = 0; s < ZO2_SPACE_CACHE; ++s) args.spaces[s] = {rig.buffer(ZO2_BUFFER_DEVICE, bytes[s]), 0};
    args.symbols[ZO2_SYMBOL_ROWS] = args.symbols[ZO2_SYMBOL_SEQUENCES] = args.symbols[ZO2_SYMBOL_TARGETS] =
        args.symbols[ZO2_SYMBOL_TABLE_ROWS] = 1;
    args.symbols[ZO2_SYMBOL_HEAD_ROWS] = rows;
  }

  void run(zo2_stream* stream) {
    for (const zo2_span& space : args.spaces) {
      if (space.buffer == nullptr) continue;
      rig.ok(rig.table->fill(stream, space, 0, rig.table->buffer_bytes(space.buffer), &rig.error));
    }
    rig.launched(rig.table->run(stream, &args, &rig.error));
  }

  Rig& rig;
  zo2_run_args args = {};
};

// A flush of so many updates that they do not travel as arguments of the kernel.
struct Flush {
  static constexpr uint32_t kUpdates = 40;

  explicit Flush(Rig& rig) : rig(rig) {
    zo2_segment segment = {};
    segment.count = 16;
    args.layout = rig.layout({segment});
    args.wire = {rig.buffer(ZO2_BUFFER_DEVICE, 64), 0};
    args.sticky = {rig.buffer(ZO2_BUFFER_DEVICE, sizeof(zo2_sticky)), 0};
    args.noise = ZO2_NOISE_GAUSSIAN;
    args.store = 1;
    coefficients = {rig.buffer(ZO2_BUFFER_DEVICE, sizeof(zo2_coefficient)), 0};
    for (zo2_update& update : updates) {
      update.directions = 1;
      update.learning_rate = 1;
      update.coefficients = coefficients;
    }
    args.updates = updates;
    args.update_count = kUpdates;
  }

  void run(zo2_stream* stream) {
    for (const zo2_span& span : {args.wire, args.sticky, coefficients})
      rig.ok(rig.table->fill(stream, span, 0, rig.table->buffer_bytes(span.buffer), &rig.error));
    rig.launched(rig.table->prepare(stream, &args, &rig.error));
  }

  Rig& rig;
  zo2_update updates[kUpdates] = {};
  zo2_span coefficients = {};
  zo2_prepare_args args = {};
};

// The first time and every time, on streams that are older than the programs and younger.
void no_command_asks_for_memory() {
  Rig rig({}, zo2_cuda_backend());
  zo2_stream* const older = rig.stream("older");
  Head small(rig, 3, 50);
  Head large(rig, 2000, 3000);
  Flush flush(rig);
  zo2_stream* const younger = rig.stream("younger");
  for (zo2_stream* const stream : {older, younger}) {
    const uint64_t before = zo2_emu_memory_calls();
    small.run(stream);
    large.run(stream);
    flush.run(stream);
    CHECK(zo2_emu_memory_calls() == before, "%" PRIu64 " calls", zo2_emu_memory_calls() - before);
    const zo2_error ended = rig.finish(stream);
    CHECK(ended.status == ZO2_OK, "%s", ended.message);
  }
}

}  // namespace

int main() {
  no_command_asks_for_memory();
  return zo2::test::report();
}
