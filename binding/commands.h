#pragma once

#include <cstddef>
#include <memory>
#include <variant>
#include <vector>

#include "contract/zo2.h"
#include "resource.h"

namespace zo2::binding {

// The commands of a list (src/device/words.ts encodes them), checked and resolved to handles of the backend.
namespace command {
struct Record {
  zo2_event* event;
};
struct Wait {
  zo2_event* event;
};
struct Hold {
  zo2_gate* gate;
};
struct Copy {
  zo2_span dst;
  zo2_span src;
  uint64_t bytes;
};
struct Fill {
  zo2_span dst;
  uint8_t byte;
  uint64_t bytes;
};
struct Gather {
  zo2_span dst;
  zo2_span src;
  zo2_span rows;
  uint64_t count;
  int64_t row_base;
  uint64_t row_bytes;
};
// The lists of args are set when it is issued.
struct Prepare {
  zo2_prepare_args args;
  std::vector<zo2_side> sides;
  std::vector<zo2_update> updates;
};
struct Run {
  zo2_run_args args;
};
struct Loss {
  zo2_loss_args args;
};
struct Gradient {
  zo2_gradient_args args;
  std::vector<zo2_difference> differences;
};
struct Seal {
  zo2_span seal;
  uint64_t index;
  zo2_span memory;
  uint64_t bytes;
  zo2_span note;
};
}  // namespace command

// The first word of each command.
enum class Opcode { kRecord = 1, kWait, kHold, kCopy, kFill, kGather, kPrepare, kRun, kLoss, kGradient, kSeal };

// In the order of their opcodes.
using CommandBody =
    std::variant<command::Record, command::Wait, command::Hold, command::Copy, command::Fill, command::Gather,
                 command::Prepare, command::Run, command::Loss, command::Gradient, command::Seal>;
inline constexpr const char* kCommandNames[] = {"record",  "wait", "hold", "copy",     "fill", "gather",
                                                "prepare", "run",  "loss", "gradient", "seal"};
inline constexpr size_t kCommands = std::variant_size_v<CommandBody>;
static_assert(sizeof kCommandNames / sizeof *kCommandNames == kCommands);
static_assert(static_cast<size_t>(Opcode::kSeal) == kCommands);

struct Command {
  zo2_stream* stream;
  CommandBody body;
};

struct CommandList {
  std::vector<Command> commands;
  // Every object that a command names: alive until each stream of the list has run past it.
  std::vector<std::shared_ptr<Resource>> references;
  std::vector<zo2_stream*> streams;  // each once
};

// Checks the whole list: lengths, integers, ranges, kinds of handles, and the bounds of copy, fill and gather. Throws a
// Failure that names the command by its number (from 0), the word by its index in `words` and its meaning. `what` names
// the call.
std::shared_ptr<CommandList> decode(const double* words, size_t count, std::vector<std::shared_ptr<Resource>> handles,
                                    const char* what);

// Hands one command to the backend.
zo2_status issue(const zo2_backend& backend, const Command& command, zo2_error* error);

}  // namespace zo2::binding
