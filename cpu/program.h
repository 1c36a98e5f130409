// A program: the ops of one unit's forward pass, parsed and checked once, run many times. The words are described in zo2.h.
#pragma once

#include <cstdint>
#include <vector>

#include "pool.h"
#include "zo2.h"

namespace zo2::cpu {

// A matrix of a program, as declared.
struct Operand {
  int space;
  uint64_t offset;
  zo2_dtype dtype;
  int64_t rows;  // rows < 0: -1 - symbol
  int64_t cols;
  int64_t stride;
};

// One op: operand indices (-1: absent) and attributes, both in the order of zo2.h.
struct Op {
  int opcode;
  std::vector<int> operands;
  std::vector<double> attributes;

  int64_t integer(size_t attribute) const { return static_cast<int64_t>(attributes[attribute]); }
  float real(size_t attribute) const { return static_cast<float>(attributes[attribute]); }
};

class Program {
 public:
  // Checks everything against the maxima: ids, dtypes, shapes that must agree, bounds in each space, attributes, and that what an op
  // writes does not overlap what it reads (allowed: linear's out is its residual, layerNorm's out is its x, attention's out is its q).
  // Throws Failure(ZO2_STATUS_INVALID_ARGUMENT) that names the op's number, its opcode's name, the operand and what is wrong.
  Program(const double* words, uint64_t count, const uint64_t space_bytes[ZO2_SPACES]);

  // Bytes of the space that the program may touch.
  uint64_t required(int space) const { return required_[space]; }
  uint64_t symbol_maximum(int symbol) const { return symbol_maximum_[symbol]; }
  bool uses(int space) const { return required_[space] > 0; }

  // Runs the ops in order; returns when the last one has ended. The start of every used space is aligned to 4 bytes. Throws Failure when a
  // symbol exceeds its maximum, a used space is null or misaligned, or a table of the inputs names a row that does not exist; the message
  // names op and row. What the ops before wrote stays. Several runs at a time are fine where their spaces allow it.
  void run(uint8_t* const spaces[ZO2_SPACES], const uint64_t symbols[ZO2_SYMBOLS], ThreadPool& pool, bool vectorised) const;

 private:
  uint64_t symbol_maximum_[ZO2_SYMBOLS] = {};
  uint64_t required_[ZO2_SPACES] = {};
  std::vector<Operand> operands_;
  std::vector<Op> ops_;
};

}  // namespace zo2::cpu
