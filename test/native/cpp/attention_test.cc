// attention through the contract, and tables that it must refuse.
#include "attention_cases.h"

namespace {

using zo2::test::OpCase;
using zo2::test::Random;
using zo2::test::Sequence;

constexpr int kRows = -1 - ZO2_SYMBOL_ROWS, kSequences = -1 - ZO2_SYMBOL_SEQUENCES;

// A table that names rows which are not there, or one row twice, is an error that names the sequence; nothing is
// written. q has 10 rows, and so have k and v but with key_rows, of a cache.
void test_bad_table(const char* name, const std::vector<Sequence>& sequences, const char* expected,
                    int64_t key_rows = 0) {
  OpCase test(name);
  Random random(1);
  test.symbol(ZO2_SYMBOL_ROWS, 20, 10);
  test.symbol(ZO2_SYMBOL_SEQUENCES, sequences.size(), sequences.size());
  const int q = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8),
            out = test.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kRows, 8);
  const int keys = key_rows > 0 ? test.operand(ZO2_SPACE_CACHE, ZO2_F32, key_rows, 8) : q;
  const int table = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kSequences, key_rows > 0 ? 5 : 4);
  for (size_t s = 0; s < sequences.size(); s++) {
    const double row[] = {double(sequences[s].start), double(sequences[s].length), double(sequences[s].prefix_start),
                          double(sequences[s].prefix_length), double(sequences[s].key_start)};
    for (int64_t c = 0; c < test.cols(table); c++) test.set(table, int64_t(s), c, row[c]);
  }
  test.op(ZO2_OP_ATTENTION, {double(out), double(q), double(keys), double(keys), double(table), 2, 2, 1, 0}, {});
  test.run_refused(expected);
}

}  // namespace

int main() {
  const zo2::test::AttentionCases cases(zo2::test::through_contract);
  cases.all();
  cases.tensor_cores();
  cases.in_fp32();

  test_bad_table("start before the rows", {{0, 2, 0, 0}, {-1, 2, 0, 0}}, "sequence 1");
  test_bad_table("end past the rows of this run", {{5, 6, 0, 0}}, "sequence 0");
  test_bad_table("prefix past the rows", {{0, 2, 9, 2}}, "sequence 0");
  test_bad_table("sum past 32 bits", {{2147483647, 2147483647, 0, 0}}, "sequence 0");
  test_bad_table("one row in two sequences", {{4, 4, 0, 0}, {0, 5, 0, 0}}, "row 4");
  const char* const start = "sequence 1 is start 9, length 2, prefixStart 0, prefixLength 0, but there are 10 rows";
  test_bad_table("end past the rows, with a cache of more", {{0, 2, 0, 0, 0}, {9, 2, 0, 0, 0}}, start, 30);
  const char* const keys = "sequence 0 has length 4, prefixStart 3, prefixLength 2, keyStart 27, but k has 30 rows";
  test_bad_table("keys past the rows of the cache", {{0, 4, 3, 2, 27}, {0, 2, 0, 0, -1}}, keys, 30);
  test_bad_table("keys before the cache", {{0, 4, 0, 0, -1}}, "keyStart -1", 30);
  test_bad_table("prefix past the rows of the cache", {{0, 2, 29, 2, 0}}, "prefixStart 29", 30);
  test_bad_table("prefix past the rows of a cache that is smaller than q", {{0, 1, 3, 2, 0}}, "but k has 4 rows", 4);
  test_bad_table("sum of keys past 32 bits", {{0, 2, 0, 0, 2147483647}}, "keyStart 2147483647", 30);
  test_bad_table("one row of q in two sequences, with a cache", {{4, 4, 0, 0, 0}, {0, 5, 0, 0, 9}}, "row 4", 30);
  return zo2::test::report();
}
