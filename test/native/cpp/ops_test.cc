// Every op but linear, attention and crossEntropy through the contract, and tables that it must refuse.
#include "copy_cases.h"
#include "row_cases.h"

namespace {

using zo2::test::OpCase;
using zo2::test::Random;

constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;

void test_bad_scatter(double row, const char* text) {
  OpCase test("scatterRows to row " + std::to_string(row));
  Random random(1);
  test.symbol(ZO2_SYMBOL_ROWS, 5, 4);
  const int out = test.operand(ZO2_SPACE_CACHE, ZO2_F32, 9, 3), x = test.operand(ZO2_SPACE_CARRIED, ZO2_F32, kRows, 3),
            index = test.operand(ZO2_SPACE_INPUTS, ZO2_I32, kRows, 1);
  test.randomise(x, random, 1);
  for (int64_t r = 0; r < 4; r++) test.set(index, r, 0, r == 2 ? row : double(r));
  test.op(ZO2_OP_SCATTER_ROWS, {double(out), double(x), double(index)}, {});
  test.run_refused(text);
}

}  // namespace

int main() {
  zo2::test::CopyCases(zo2::test::through_contract).all();
  zo2::test::RowCases(zo2::test::through_contract).all();
  test_bad_scatter(-1, "op 0 (scatterRows): index row 2 names row -1 of out, which has 9 rows");
  test_bad_scatter(9, "op 0 (scatterRows): index row 2 names row 9 of out, which has 9 rows");
  return zo2::test::report();
}
