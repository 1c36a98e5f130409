// What the ops demand of their operands and attributes: one table of names and one function of rules, used when a
// program is created.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "contract/names.h"
#include "contract/program.h"

namespace zo2::contract {

struct OperandRule {
  const char* name;
  enum { kActivation, kWeight, kFloat32, kTable } kind;
  bool optional;
};

struct AttributeRule {
  const char* name;
  bool integer;
  double least, most;
};

struct OpRule {
  int opcode;
  std::vector<OperandRule> operands;
  std::vector<AttributeRule> attributes;
  // Real numbers behind the attributes, as many as the last of these says. Null: there are none.
  const AttributeRule* repeated = nullptr;

  const char* name() const { return kOpNames[opcode]; }
};

// Null when there is no such opcode.
const OpRule* find_rule(int opcode);

// Checks shapes, dtypes and overlaps of an op whose operand indices exist and whose attributes are within their ranges.
// Throws Failure.
void check_op(const OpRule& rule, const Op& op, uint64_t number, const std::vector<Operand>& operands,
              const uint64_t symbol_maximum[ZO2_SYMBOLS]);

}  // namespace zo2::contract
