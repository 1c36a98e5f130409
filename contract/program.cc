#include "contract/program.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "contract/dtype.h"
#include "contract/names.h"
#include "contract/program_rules.h"
#include "contract/status.h"

namespace zo2::contract {

namespace {

constexpr double kVersion = 4;
constexpr double kMostInteger = 9007199254740992.0;                    // 2^53
constexpr int64_t kMostColumns = std::numeric_limits<int32_t>::max();  // what a BLAS takes
// so that sums of two extents stay within 64 bits
constexpr uint64_t kMostBytes = uint64_t{1} << 62;
constexpr uint64_t kOperandWords = 6;

unsigned long long printed(uint64_t value) { return static_cast<unsigned long long>(value); }

// Reads words one by one and knows where it is, for messages.
class Reader {
 public:
  Reader(const double* words, uint64_t count) : words_(words), count_(count) {}

  uint64_t left() const { return count_ - next_; }

  double real(const std::string& what) {
    if (left() == 0)
      fail(ZO2_STATUS_INVALID_ARGUMENT, "program: it ends after %llu words, where %s should follow", printed(count_),
           what.c_str());
    return words_[next_++];
  }

  int64_t integer(const std::string& what, double least, double most) {
    const double word = real(what);
    // Also false for NaN.
    if (word >= least && word <= most && word == std::floor(word)) return static_cast<int64_t>(word);
    fail(ZO2_STATUS_INVALID_ARGUMENT, "program: word %llu, %s, is %.17g; it must be an integer from %.17g to %.17g",
         printed(next_ - 1), what.c_str(), word, least, most);
  }

 private:
  const double* words_;
  uint64_t count_;
  uint64_t next_ = 0;
};

Operand read_operand(Reader& reader, uint64_t number, uint64_t symbols) {
  const std::string prefix = "operand " + std::to_string(number) + "'s ";
  Operand operand;
  operand.space = static_cast<int>(reader.integer(prefix + "space", 0, ZO2_SPACES - 1));
  operand.offset = static_cast<uint64_t>(reader.integer(prefix + "offset", 0, kMostInteger));
  operand.dtype = static_cast<zo2_dtype>(reader.integer(prefix + "dtype", ZO2_F32, ZO2_I32));
  operand.rows = reader.integer(prefix + "rows", -static_cast<double>(symbols), kMostInteger);
  operand.cols = reader.integer(prefix + "columns", 1, static_cast<double>(kMostColumns));
  operand.stride =
      reader.integer(prefix + "row stride", static_cast<double>(operand.cols), static_cast<double>(kMostColumns));
  if (operand.offset % dtype_bytes(operand.dtype) != 0) {
    fail(ZO2_STATUS_INVALID_ARGUMENT,
         "program: operand %llu's offset is %llu, which is not a multiple of its elements' %llu bytes", printed(number),
         printed(operand.offset), printed(dtype_bytes(operand.dtype)));
  }
  return operand;
}

// Bytes from the start of its space to the end of the operand; 0 when it has no rows. Throws when it exceeds the space.
uint64_t extent(const Operand& operand, uint64_t number, uint64_t rows, uint64_t space_bytes) {
  if (rows == 0) return 0;
  const uint64_t size = dtype_bytes(operand.dtype);
  const uint64_t pitch = static_cast<uint64_t>(operand.stride) * size,
                 width = static_cast<uint64_t>(operand.cols) * size;
  // Compared by division: rows times pitch may exceed 64 bits.
  const bool fits = operand.offset <= space_bytes && width <= space_bytes - operand.offset &&
                    rows - 1 <= (space_bytes - operand.offset - width) / pitch;
  if (fits) return operand.offset + (rows - 1) * pitch + width;
  fail(ZO2_STATUS_INVALID_ARGUMENT,
       "program: operand %llu, %llu rows of %llu bytes, %llu bytes apart, at offset %llu, exceeds the %llu bytes of "
       "space %s",
       printed(number), printed(rows), printed(width), printed(pitch), printed(operand.offset), printed(space_bytes),
       kSpaceNames[operand.space]);
}

double read_attribute(Reader& reader, const AttributeRule& rule, uint64_t number, const char* op,
                      const std::string& what) {
  if (rule.integer) return static_cast<double>(reader.integer(what, rule.least, rule.most));
  const double value = reader.real(what);
  // Also true for NaN.
  if (!(value >= rule.least && value <= rule.most)) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "op %llu (%s): %s is %g; it must be finite%s", printed(number), op, what.c_str(),
         value, rule.least == 0 ? " and not negative" : "");
  }
  return value;
}

// The values that follow the attributes of `op`. `words` is the number of words that the op says it has, `fixed` that
// of its rule.
void read_repeated(Reader& reader, const OpRule& rule, Op& op, uint64_t number, double words, double fixed) {
  const double count = op.attributes.back();
  if (words != fixed + count) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "op %llu (%s): it has %.17g words, but %s, %.17g, asks for %.17g",
         printed(number), rule.name(), words, rule.attributes.back().name, count, fixed + count);
  }
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); i++) {
    op.attributes.push_back(read_attribute(reader, *rule.repeated, number, rule.name(),
                                           rule.repeated->name + std::string(" ") + std::to_string(i)));
  }
}

Op read_op(Reader& reader, uint64_t number, uint64_t operand_count) {
  const std::string prefix = "op " + std::to_string(number);
  Op op;
  op.opcode = static_cast<int>(reader.integer(prefix + "'s opcode", 0, kMostColumns));
  const OpRule* rule = find_rule(op.opcode);
  if (!rule)
    fail(ZO2_STATUS_INVALID_ARGUMENT, "op %llu: there is no opcode %d; there are 1 to %d", printed(number), op.opcode,
         kLargestOpcode);
  const std::string name = prefix + " (" + rule->name() + "), ";
  const double fixed = static_cast<double>(rule->operands.size() + rule->attributes.size());
  const int64_t count = reader.integer(name + "number of words", fixed, rule->repeated ? kMostColumns : fixed);
  for (const OperandRule& operand : rule->operands) {
    const double most = static_cast<double>(operand_count) - 1;
    op.operands.push_back(static_cast<int>(reader.integer(name + operand.name, operand.optional ? -1 : 0, most)));
  }
  for (const AttributeRule& attribute : rule->attributes) {
    op.attributes.push_back(read_attribute(reader, attribute, number, rule->name(),
                                           attribute.integer ? name + attribute.name : attribute.name));
  }
  if (rule->repeated) read_repeated(reader, *rule, op, number, static_cast<double>(count), fixed);
  return op;
}

}  // namespace

Program::Program(const void* owner, const double* words, uint64_t count, const uint64_t space_bytes[ZO2_SPACES])
    : owner_(owner) {
  if (count > 0 && !words) fail(ZO2_STATUS_INVALID_ARGUMENT, "program: %llu words at a null address", printed(count));
  Reader reader(words, count);
  reader.integer("the version", kVersion, kVersion);
  const uint64_t operand_count = static_cast<uint64_t>(reader.integer("the operand count", 0, kMostColumns));
  const uint64_t op_count = static_cast<uint64_t>(reader.integer("the op count", 0, kMostColumns));
  const uint64_t symbols = static_cast<uint64_t>(reader.integer("the symbol count", 0, ZO2_SYMBOLS));
  for (uint64_t s = 0; s < symbols; s++) {
    symbol_maximum_[s] =
        static_cast<uint64_t>(reader.integer("the maximum of symbol " + std::to_string(s), 0, kMostInteger));
  }
  if (operand_count > reader.left() / kOperandWords) {
    fail(ZO2_STATUS_INVALID_ARGUMENT, "program: %llu operands need %llu words, %llu follow", printed(operand_count),
         printed(operand_count * kOperandWords), printed(reader.left()));
  }
  for (uint64_t i = 0; i < operand_count; i++) {
    const Operand operand = read_operand(reader, i, symbols);
    const uint64_t rows = operand.rows >= 0 ? static_cast<uint64_t>(operand.rows) : symbol_maximum_[-1 - operand.rows];
    const uint64_t bytes = extent(operand, i, rows, std::min(space_bytes[operand.space], kMostBytes));
    if (bytes > required_[operand.space]) required_[operand.space] = bytes;
    operands_.push_back(operand);
  }
  for (uint64_t i = 0; i < op_count; i++) {
    Op op = read_op(reader, i, operand_count);
    check_op(*find_rule(op.opcode), op, i, operands_, symbol_maximum_);
    ops_.push_back(std::move(op));
  }
  if (reader.left() > 0)
    fail(ZO2_STATUS_INVALID_ARGUMENT, "program: %llu words follow the last op", printed(reader.left()));
}

std::vector<View> Program::views(uint8_t* const spaces[ZO2_SPACES], const uint64_t symbols[ZO2_SYMBOLS]) const {
  std::vector<View> views(operands_.size());
  for (size_t i = 0; i < operands_.size(); i++) {
    const Operand& o = operands_[i];
    const int64_t rows = o.rows >= 0 ? o.rows : static_cast<int64_t>(symbols[-1 - o.rows]);
    views[i] = {rows > 0 ? spaces[o.space] + o.offset : nullptr, o.dtype, rows, o.cols, o.stride};
  }
  return views;
}

}  // namespace zo2::contract
