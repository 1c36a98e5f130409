#include "contract/fault.h"

#include <cinttypes>
#include <cstdio>

#include "contract/names.h"
#include "contract/status.h"

namespace zo2::contract {
namespace {

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[400];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

// "op 3 (attention)"
std::string op_at(const Fault& fault, int opcode) { return format("op %" PRIu32 " (%s)", fault.op, kOpNames[opcode]); }

std::string describe_range(const Fault& fault, const char* what, const char* into) {
  return format("loss: %s %" PRIu64 " is the range [%" PRId64 ", %" PRId64
                ") of %s, but must be a range of at least one of the %" PRId64 " there",
                what, fault.index, fault.values[0], fault.values[1], into, fault.values[2]);
}

}  // namespace

std::string describe(const Fault& fault) {
  const int64_t* const v = fault.values;
  switch (fault.kind) {
    case FaultKind::kNone:
      break;
    case FaultKind::kSequence:
      return format("%s: sequence %" PRIu64 " is start %" PRId64 ", length %" PRId64 ", prefixStart %" PRId64
                    ", prefixLength %" PRId64 ", but there are %" PRId64 " rows",
                    op_at(fault, ZO2_OP_ATTENTION).c_str(), fault.index, v[0], v[1], v[2], v[3], v[4]);
    case FaultKind::kSequenceOverlap:
      return format("%s: row %" PRIu64 " belongs to two sequences, which start at rows %" PRId64 " and %" PRId64,
                    op_at(fault, ZO2_OP_ATTENTION).c_str(), fault.index, v[0], v[1]);
    case FaultKind::kTarget:
      return format("%s: target %" PRIu64 " names row %" PRId64 " of x, which has %" PRId64 " rows",
                    op_at(fault, ZO2_OP_CROSS_ENTROPY).c_str(), fault.index, v[0], v[1]);
    case FaultKind::kIndexRow:
      return format("%s: index row %" PRIu64 " names row %" PRId64 " of x, which has %" PRId64 " rows",
                    op_at(fault, ZO2_OP_GATHER_ROWS).c_str(), fault.index, v[0], v[1]);
    case FaultKind::kPrepareRow:
      return format("prepare: rows[%" PRIu64 "] is %" PRId64 ", %s", fault.index, v[0],
                    v[0] < 0 ? "but row numbers start at 0" : "whose elements lie past the end of the noise buffer");
    case FaultKind::kGatherRow:
      return format("gather: rows[%" PRIu64 "] is %" PRId64 ", but the source holds %" PRId64 " rows from row %" PRId64
                    " on",
                    fault.index, v[0], v[1], v[2]);
    case FaultKind::kGatherOverlap:
      return format("gather: rows[%" PRIu64 "] is %" PRId64 ", whose bytes overlap the destination", fault.index, v[0]);
    case FaultKind::kChoiceRange:
      return describe_range(fault, "choice", "targets");
    case FaultKind::kExampleRange:
      return describe_range(fault, "example", "choices");
    case FaultKind::kLabel:
      return format("loss: example %" PRIu64 " has the label %" PRId64 ", but %" PRId64 " choices", fault.index, v[0],
                    v[1]);
    case FaultKind::kSequenceKeys:
      return format("%s: sequence %" PRIu64 " has length %" PRId64 ", prefixStart %" PRId64 ", prefixLength %" PRId64
                    ", keyStart %" PRId64 ", but k has %" PRId64 " rows",
                    op_at(fault, ZO2_OP_ATTENTION).c_str(), fault.index, v[0], v[1], v[2], v[3], v[4]);
    case FaultKind::kScatterRow:
      return format("%s: index row %" PRIu64 " names row %" PRId64 " of out, which has %" PRId64 " rows",
                    op_at(fault, ZO2_OP_SCATTER_ROWS).c_str(), fault.index, v[0], v[1]);
    case FaultKind::kSpanRange:
      return describe_range(fault, "example", "rows");
    case FaultKind::kSpanPosition:
      return format("loss: example %" PRIu64 " has the %s position %" PRId64 ", but %" PRId64 " rows; use 0 to %" PRId64
                    ", or %" PRId32 " to ignore it",
                    fault.index, v[0] == 0 ? "start" : "end", v[1], v[2], v[2] - 1, kIgnored);
  }
  return "a table of the command is wrong in a way that has no name";
}

void fail_with(const Fault& fault) { fail(ZO2_STATUS_INVALID_ARGUMENT, "%s", describe(fault).c_str()); }

}  // namespace zo2::contract
