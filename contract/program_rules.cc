#include "contract/program_rules.h"

#include <cstdarg>
#include <cstdio>
#include <limits>
#include <string>

#include "contract/dtype.h"
#include "contract/status.h"

namespace zo2::contract {

namespace {

constexpr double kMostInteger = 9007199254740992.0;  // 2^53
constexpr double kAnyReal = std::numeric_limits<double>::max();
constexpr double kAnySingle = std::numeric_limits<float>::max();
constexpr double kMostActivation = ZO2_ACTIVATION_SILU;
constexpr AttributeRule kFrequency = {"frequency", false, -kAnySingle, kAnySingle};

const std::vector<OpRule>& rules() {
  using R = OperandRule;
  static const std::vector<OpRule> all = {
      {ZO2_OP_EMBED,
       {{"out", R::kActivation, false}, {"table", R::kWeight, false}, {"index", R::kTable, false}},
       {{"rowStart", true, 0, kMostInteger}, {"rowCount", true, 0, kMostInteger}, {"accumulate", true, 0, 1}}},
      {ZO2_OP_LINEAR,
       {{"out", R::kActivation, false},
        {"x", R::kActivation, false},
        {"weight", R::kWeight, false},
        {"bias", R::kWeight, true},
        {"residual", R::kActivation, true}},
       {{"activation", true, ZO2_ACTIVATION_NONE, kMostActivation},
        {"scale", false, -kAnySingle, kAnySingle},
        {"inner", true, 0, 1}}},
      {ZO2_OP_LAYER_NORM,
       {{"out", R::kActivation, false},
        {"x", R::kActivation, false},
        {"gain", R::kWeight, false},
        {"bias", R::kWeight, true}},
       {{"epsilon", false, 0, kAnyReal}}},
      {ZO2_OP_ATTENTION,
       {{"out", R::kActivation, false},
        {"q", R::kActivation, false},
        {"k", R::kActivation, false},
        {"v", R::kActivation, false},
        {"sequences", R::kTable, false}},
       {{"heads", true, 1, kMostInteger},
        {"kvHeads", true, 1, kMostInteger},
        {"scale", false, -kAnyReal, kAnyReal},
        {"window", true, 0, kMostInteger}}},
      {ZO2_OP_GATHER_ROWS,
       {{"out", R::kActivation, false}, {"x", R::kActivation, false}, {"index", R::kTable, false}},
       {}},
      {ZO2_OP_CROSS_ENTROPY,
       {{"logprob", R::kFloat32, false},
        {"state", R::kFloat32, false},
        {"x", R::kActivation, false},
        {"weight", R::kWeight, false},
        {"targets", R::kTable, false}},
       {{"vocabStart", true, 0, kMostInteger}, {"tileFlags", true, 0, ZO2_TILE_FIRST | ZO2_TILE_LAST}}},
      {ZO2_OP_RMS_NORM,
       {{"out", R::kActivation, false}, {"x", R::kActivation, false}, {"gain", R::kWeight, false}},
       {{"epsilon", false, 0, kAnyReal}}},
      {ZO2_OP_ROPE,
       {{"out", R::kActivation, false}, {"x", R::kActivation, false}, {"positions", R::kTable, false}},
       {{"headSize", true, 2, kMostInteger},
        {"rotary", true, 2, kMostInteger},
        {"scaling", false, -kAnySingle, kAnySingle},
        {"count", true, 1, kMostInteger}},
       &kFrequency},
      {ZO2_OP_GATED_ACTIVATION,
       {{"out", R::kActivation, false}, {"gate", R::kActivation, false}, {"up", R::kActivation, false}},
       {{"activation", true, ZO2_ACTIVATION_NONE, kMostActivation}}},
      {ZO2_OP_CAST, {{"out", R::kActivation, false}, {"x", R::kActivation, false}}, {}},
      {ZO2_OP_TRANSPOSE, {{"out", R::kActivation, false}, {"x", R::kWeight, false}}, {}},
      {ZO2_OP_SCATTER_ROWS,
       {{"out", R::kActivation, false}, {"x", R::kActivation, false}, {"index", R::kTable, false}},
       {}},
  };
  return all;
}

// One op under examination; failures name it.
class Examination {
 public:
  Examination(const OpRule& rule, const Op& op, uint64_t number, const std::vector<Operand>& operands,
              const uint64_t* symbol_maximum)
      : rule_(rule), op_(op), number_(number), operands_(operands), symbol_maximum_(symbol_maximum) {}

  bool has(size_t i) const { return op_.operands[i] >= 0; }
  const Operand& at(size_t i) const { return operands_[static_cast<size_t>(op_.operands[i])]; }
  const char* name(size_t i) const { return rule_.operands[i].name; }
  const Op& op() const { return op_; }
  const char* op_name() const { return rule_.name(); }

  [[noreturn]] void reject(const char* format, ...) const __attribute__((format(printf, 2, 3))) {
    char text[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail(ZO2_STATUS_INVALID_ARGUMENT, "op %llu (%s): %s", static_cast<unsigned long long>(number_), rule_.name(), text);
  }

  void dtypes() const {
    for (size_t i = 0; i < rule_.operands.size(); i++) {
      if (!has(i)) continue;
      const zo2_dtype dtype = at(i).dtype;
      const auto kind = rule_.operands[i].kind;
      if (kind == OperandRule::kTable && dtype != ZO2_I32)
        reject("%s has dtype %s, it must be i32", name(i), kDtypeNames[dtype]);
      if (kind == OperandRule::kFloat32 && dtype != ZO2_F32)
        reject("%s has dtype %s, it must be f32", name(i), kDtypeNames[dtype]);
      if (dtype == ZO2_I32 && kind != OperandRule::kTable)
        reject("%s has dtype i32, it must be f32, f16 or bf16", name(i));
    }
  }

  void columns(size_t i, int64_t expected, const char* of) const {
    if (at(i).cols != expected) {
      reject("%s has %lld columns, %s asks for %lld", name(i), static_cast<long long>(at(i).cols), of,
             static_cast<long long>(expected));
    }
  }
  void same_columns(size_t i, size_t as) const { columns(i, at(as).cols, name(as)); }

  // `part` columns, named `what`, fit a whole number of times into the operand's.
  void divides(int64_t part, const char* what, size_t i) const {
    if (at(i).cols % part != 0) {
      reject("%s has %lld columns, which is not a multiple of %s, %lld", name(i), static_cast<long long>(at(i).cols),
             what, static_cast<long long>(part));
    }
  }

  // As many rows in every run: the same symbol, or the same count.
  void same_rows(size_t i, size_t as) const {
    if (at(i).rows == at(as).rows) return;
    reject("%s has %s rows, %s has %s; they must agree", name(i), rows_text(at(i).rows).c_str(), name(as),
           rows_text(at(as).rows).c_str());
  }
  void rows(size_t i, int64_t expected, const char* of) const {
    if (at(i).rows == expected) return;
    reject("%s has %s rows, %s asks for %lld", name(i), rows_text(at(i).rows).c_str(), of,
           static_cast<long long>(expected));
  }

  int64_t most_rows(size_t i) const {
    const int64_t rows = at(i).rows;
    return rows >= 0 ? rows : static_cast<int64_t>(symbol_maximum_[-1 - rows]);
  }

  // What is written may not overlap another operand, but for one that is the same matrix where `same` names it.
  void no_overlap(size_t written, size_t same) const {
    for (size_t i = 0; i < rule_.operands.size(); i++) {
      if (i == written || !has(i) || !overlap(at(written), most_rows(written), at(i), most_rows(i))) continue;
      if (i == same && identical(at(written), at(i))) continue;
      reject("%s overlaps %s%s", name(written), name(i),
             i == same ? " without being the same matrix" : "; they must be apart");
    }
  }

 private:
  static std::string rows_text(int64_t rows) {
    return rows >= 0 ? std::to_string(rows) : "symbol " + std::to_string(-1 - rows);
  }

  static bool identical(const Operand& a, const Operand& b) {
    return a.offset == b.offset && a.dtype == b.dtype && a.stride == b.stride && a.rows == b.rows && a.cols == b.cols;
  }

  // Whether two matrices share a byte. Exact where their rows are equally far apart (slices of one matrix by columns
  // are disjoint then); otherwise by their whole ranges.
  static bool overlap(const Operand& a, int64_t a_rows, const Operand& b, int64_t b_rows) {
    if (a.space != b.space || a_rows == 0 || b_rows == 0 || a.cols == 0 || b.cols == 0) return false;
    const auto a_size = static_cast<int64_t>(dtype_bytes(a.dtype)), b_size = static_cast<int64_t>(dtype_bytes(b.dtype));
    const int64_t a_pitch = a.stride * a_size, a_width = a.cols * a_size;
    const int64_t b_pitch = b.stride * b_size, b_width = b.cols * b_size;
    const int64_t a_start = static_cast<int64_t>(a.offset), b_start = static_cast<int64_t>(b.offset);
    const int64_t a_end = a_start + (a_rows - 1) * a_pitch + a_width,
                  b_end = b_start + (b_rows - 1) * b_pitch + b_width;
    if (a_end <= b_start || b_end <= a_start) return false;
    if (a_pitch != b_pitch) return true;
    const int64_t ahead = ((b_start - a_start) % a_pitch + a_pitch) % a_pitch;
    return ahead < a_width || a_pitch - ahead < b_width;
  }

  const OpRule& rule_;
  const Op& op_;
  const uint64_t number_;
  const std::vector<Operand>& operands_;
  const uint64_t* symbol_maximum_;
};

constexpr size_t kNone = static_cast<size_t>(-1);

void check_embed(const Examination& e) {
  enum { kOut, kTable, kIndex };
  e.same_columns(kTable, kOut);
  e.same_rows(kIndex, kOut);
  e.columns(kIndex, 1, "index");
  const int64_t count = e.op().integer(1), table = e.most_rows(kTable);
  if (count > table)
    e.reject("rowCount is %lld, but table has %lld rows", static_cast<long long>(count), static_cast<long long>(table));
  e.no_overlap(kOut, kNone);
}

void check_linear(const Examination& e) {
  enum { kOut, kX, kWeight, kBias, kResidual };
  e.same_rows(kX, kOut);
  e.same_columns(kWeight, kX);
  e.rows(kWeight, e.at(kOut).cols, "out");
  if (e.has(kBias)) {
    e.rows(kBias, 1, e.op_name());
    e.same_columns(kBias, kOut);
  }
  if (e.has(kResidual)) {
    e.same_rows(kResidual, kOut);
    e.same_columns(kResidual, kOut);
  }
  e.no_overlap(kOut, kResidual);
}

void check_layer_norm(const Examination& e) {
  enum { kOut, kX, kGain, kBias };
  e.same_rows(kX, kOut);
  e.same_columns(kX, kOut);
  for (size_t i : {kGain, kBias}) {
    if (!e.has(i)) continue;
    e.rows(i, 1, e.op_name());
    e.same_columns(i, kOut);
  }
  e.no_overlap(kOut, kX);
}

void check_attention(const Examination& e) {
  enum { kOut, kQ, kK, kV, kSequences };
  const int64_t heads = e.op().integer(0), key_heads = e.op().integer(1), columns = e.at(kQ).cols;
  e.same_rows(kOut, kQ);
  const int64_t table = e.at(kSequences).cols;
  if (table != 4 && table != 5)
    e.reject("sequences has %lld columns, it must have 4, or 5 with keyStart", static_cast<long long>(table));
  // Without keyStart the rows of a sequence are its keys.
  e.same_rows(kK, table == 5 ? kV : kQ);
  if (table == 4) e.same_rows(kV, kQ);
  e.same_columns(kOut, kQ);
  if (heads % key_heads != 0) {
    e.reject("heads is %lld, which is not a multiple of kvHeads, %lld", static_cast<long long>(heads),
             static_cast<long long>(key_heads));
  }
  if (columns % heads != 0)
    e.reject("q has %lld columns, which %lld heads do not divide", static_cast<long long>(columns),
             static_cast<long long>(heads));
  for (size_t i : {kK, kV}) e.columns(i, columns / heads * key_heads, "q");
  e.no_overlap(kOut, kQ);
}

void check_gather_rows(const Examination& e) {
  enum { kOut, kX, kIndex };
  e.same_columns(kX, kOut);
  e.same_rows(kIndex, kOut);
  e.columns(kIndex, 1, "index");
  e.no_overlap(kOut, kNone);
}

void check_cross_entropy(const Examination& e) {
  enum { kLogprob, kState, kX, kWeight, kTargets };
  e.same_rows(kState, kX);
  e.columns(kState, 2, "state");
  e.same_columns(kWeight, kX);
  if (e.at(kWeight).rows < 0)
    e.reject("weight has a run-time number of rows; a tile of the vocabulary has a fixed one");
  e.same_rows(kLogprob, kTargets);
  e.columns(kLogprob, 1, "logprob");
  e.columns(kTargets, 2, "targets");
  e.no_overlap(kLogprob, kNone);
  e.no_overlap(kState, kNone);
}

void check_rms_norm(const Examination& e) {
  enum { kOut, kX, kGain };
  e.same_rows(kX, kOut);
  e.same_columns(kX, kOut);
  e.rows(kGain, 1, e.op_name());
  e.divides(e.at(kGain).cols, "gain", kOut);
  e.no_overlap(kOut, kX);
}

void check_rope(const Examination& e) {
  enum { kOut, kX, kPositions };
  const int64_t head_size = e.op().integer(0), rotary = e.op().integer(1), count = e.op().integer(3);
  e.same_rows(kX, kOut);
  e.same_columns(kX, kOut);
  e.same_rows(kPositions, kOut);
  e.columns(kPositions, 1, e.op_name());
  e.divides(head_size, "headSize", kOut);
  if (rotary % 2 != 0 || rotary > head_size) {
    e.reject("rotary is %lld, it must be even and at most headSize, %lld", static_cast<long long>(rotary),
             static_cast<long long>(head_size));
  }
  if (count != rotary / 2) {
    e.reject("count is %lld, rotary asks for %lld frequencies", static_cast<long long>(count),
             static_cast<long long>(rotary / 2));
  }
  e.no_overlap(kOut, kX);
}

void check_gated_activation(const Examination& e) {
  enum { kOut, kGate, kUp };
  for (size_t i : {kGate, kUp}) {
    e.same_rows(i, kOut);
    e.same_columns(i, kOut);
  }
  e.no_overlap(kOut, kGate);
}

void check_cast(const Examination& e) {
  enum { kOut, kX };
  e.same_rows(kX, kOut);
  e.same_columns(kX, kOut);
  e.no_overlap(kOut, kNone);
}

void check_transpose(const Examination& e) {
  enum { kOut, kX };
  if (e.at(kX).rows < 0) e.reject("x has a run-time number of rows; what is transposed has a fixed one");
  e.rows(kOut, e.at(kX).cols, "x");
  e.columns(kOut, e.at(kX).rows, "x");
  e.no_overlap(kOut, kNone);
}

void check_scatter_rows(const Examination& e) {
  enum { kOut, kX, kIndex };
  e.same_columns(kX, kOut);
  e.same_rows(kIndex, kX);
  e.columns(kIndex, 1, "index");
  e.no_overlap(kOut, kNone);
}

}  // namespace

const OpRule* find_rule(int opcode) {
  for (const OpRule& rule : rules()) {
    if (rule.opcode == opcode) return &rule;
  }
  return nullptr;
}

void check_op(const OpRule& rule, const Op& op, uint64_t number, const std::vector<Operand>& operands,
              const uint64_t symbol_maximum[ZO2_SYMBOLS]) {
  const Examination e(rule, op, number, operands, symbol_maximum);
  e.dtypes();
  switch (op.opcode) {
    case ZO2_OP_EMBED:
      return check_embed(e);
    case ZO2_OP_LINEAR:
      return check_linear(e);
    case ZO2_OP_LAYER_NORM:
      return check_layer_norm(e);
    case ZO2_OP_ATTENTION:
      return check_attention(e);
    case ZO2_OP_GATHER_ROWS:
      return check_gather_rows(e);
    case ZO2_OP_CROSS_ENTROPY:
      return check_cross_entropy(e);
    case ZO2_OP_RMS_NORM:
      return check_rms_norm(e);
    case ZO2_OP_ROPE:
      return check_rope(e);
    case ZO2_OP_GATED_ACTIVATION:
      return check_gated_activation(e);
    case ZO2_OP_CAST:
      return check_cast(e);
    case ZO2_OP_TRANSPOSE:
      return check_transpose(e);
    default:
      return check_scatter_rows(e);
  }
}

}  // namespace zo2::contract
