// A program: the ops of one unit's forward pass, parsed and checked once, run many times. The words are described in
// zo2.h. What a backend keeps for one derives from it, and a zo2_program is a pointer to it.
#pragma once

#include <cstdint>
#include <vector>

#include "contract/dtype.h"
#include "contract/zo2.h"

namespace zo2::contract {

// A matrix of a program, as declared.
struct Operand {
  int space;
  uint64_t offset;
  zo2_dtype dtype;
  int64_t rows;  // rows < 0: -1 - symbol
  int64_t cols;
  int64_t stride;
};

// One op: operand indices (-1: absent) and attributes, both in the order of zo2.h; rope's frequencies are its last
// attributes.
struct Op {
  int opcode;
  std::vector<int> operands;
  std::vector<double> attributes;

  int64_t integer(size_t attribute) const { return static_cast<int64_t>(attributes[attribute]); }
  float real(size_t attribute) const { return static_cast<float>(attributes[attribute]); }
};

// An operand of one run; data is null when it has no elements or is absent.
struct View {
  uint8_t* data = nullptr;
  zo2_dtype dtype = ZO2_F32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  bool present() const { return data != nullptr; }
  bool empty() const { return rows == 0 || cols == 0; }
  uint8_t* row(int64_t r, int64_t column = 0) const {
    return data + (r * stride + column) * static_cast<int64_t>(dtype_bytes(dtype));
  }
  float* floats(int64_t r) const { return reinterpret_cast<float*>(row(r)); }
  const int32_t* integers(int64_t r) const { return reinterpret_cast<const int32_t*>(row(r)); }
};

class Program {
 public:
  // Checks everything against the maxima: ids, dtypes, shapes that must agree, bounds in each space, attributes, and
  // that what an op writes does not overlap what it reads (where zo2.h says that out may be an operand's own memory, it
  // may). Throws Failure(ZO2_STATUS_INVALID_ARGUMENT) that names the op's number, its opcode's name, the operand and
  // what is wrong. `owner`: the device that it belongs to, as the backend's own object; compared only.
  Program(const void* owner, const double* words, uint64_t count, const uint64_t space_bytes[ZO2_SPACES]);

  const void* owner() const { return owner_; }
  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Operand>& operands() const { return operands_; }
  // Bytes of the space that the program may touch.
  uint64_t required(int space) const { return required_[space]; }
  uint64_t symbol_maximum(int symbol) const { return symbol_maximum_[symbol]; }
  bool uses(int space) const { return required_[space] > 0; }

  // The operands of a run. `spaces` and `symbols` were checked by resolve_run.
  std::vector<View> views(uint8_t* const spaces[ZO2_SPACES], const uint64_t symbols[ZO2_SYMBOLS]) const;

 private:
  const void* const owner_;
  uint64_t symbol_maximum_[ZO2_SYMBOLS] = {};
  uint64_t required_[ZO2_SPACES] = {};
  std::vector<Operand> operands_;
  std::vector<Op> ops_;
};

}  // namespace zo2::contract
