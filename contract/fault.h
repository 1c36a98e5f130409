// What may be wrong with the tables that commands read when they run: row lists, sequences, targets, choices. One kind
// and one sentence for both backends; a kernel fills the numbers, the host words them.
#pragma once

#include <stdint.h>

#include <string>

namespace zo2::contract {

// Stands in such a table for a target or a position that is none.
constexpr int32_t kIgnored = -100;

// The comment behind each kind names Fault::values in order.
enum class FaultKind : uint32_t {
  kNone = 0,
  kSequence = 1,         // attention: start, length, prefixStart, prefixLength, rows of q. index: sequence
  kSequenceOverlap = 2,  // attention: start of one, start of the other. index: row that belongs to both
  kTarget = 3,           // crossEntropy: row of x, rows of x. index: target
  kIndexRow = 4,         // gatherRows: row of x, rows of x. index: row of index
  kPrepareRow = 5,       // prepare: row number. index: place in rows
  kGatherRow = 6,        // gather: row number, rows that the source holds, row_base. index: place in rows
  kGatherOverlap = 7,    // gather: row number. index: place in rows
  kChoiceRange = 8,      // loss: begin, end, targets. index: choice
  kExampleRange = 9,     // loss: begin, end, choices. index: example
  kLabel = 10,           // loss: label, choices of the example. index: example
  // attention with keyStart: length, prefixStart, prefixLength, keyStart, rows of k. index: sequence
  kSequenceKeys = 11,
  kScatterRow = 12,    // scatterRows: row of out, rows of out. index: row of index
  kSpanRange = 13,     // loss: begin, end, rows. index: example
  kSpanPosition = 14,  // loss: 0 for start or 1 for end, position, rows of the example. index: example
};

struct Fault {
  FaultKind kind;
  uint32_t op;  // number of the op in its program; 0 for commands that run no program
  uint64_t index;
  int64_t values[5];
};

// One sentence: what was wrong, where, what is allowed.
std::string describe(const Fault& fault);

// Throws Failure(INVALID_ARGUMENT) with that sentence.
[[noreturn]] void fail_with(const Fault& fault);

}  // namespace zo2::contract
