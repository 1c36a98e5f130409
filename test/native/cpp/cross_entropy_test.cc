// crossEntropy through the contract, in the middle of its tiles, and targets that it must refuse.
#include "cross_entropy_cases.h"

namespace {

using zo2::test::CrossEntropyCases;
using zo2::test::cut;
using zo2::test::OpCase;
using zo2::test::Random;
using Operands = CrossEntropyCases::Operands;

constexpr int kHeadRows = -1 - ZO2_SYMBOL_HEAD_ROWS, kTargets = -1 - ZO2_SYMBOL_TARGETS;

// After a tile that is not the last: NaN where the target's tile was not seen, the state ready for the next tile.
void test_unfinished() {
  OpCase test("crossEntropy before the last tile");
  Random random(2);
  const Operands o = CrossEntropyCases::declare(test, {4, 4, cut(30, 10), 8});
  test.randomise(o.x, random, 1);
  for (int tile : o.tiles) test.randomise(tile, random, 1);
  for (int64_t t = 0; t < 4; t++) {
    test.set(o.targets, t, 0, double(t));
    test.set(o.targets, t, 1, double(t) * 10);
  }
  // Again, with the first two of the three tiles only.
  OpCase two("crossEntropy after two of three tiles");
  two.symbol(ZO2_SYMBOL_HEAD_ROWS, 4, 4);
  two.symbol(ZO2_SYMBOL_TARGETS, 4, 4);
  const int logprob = two.operand(ZO2_SPACE_RESULTS, ZO2_F32, kTargets, 1),
            state = two.operand(ZO2_SPACE_CARRIED, ZO2_F32, kHeadRows, 2);
  const int x = two.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, kHeadRows, 8),
            targets = two.operand(ZO2_SPACE_INPUTS, ZO2_I32, kTargets, 2);
  for (int i = 0; i < 2; i++) {
    const int tile = two.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 10, 8);
    for (int64_t r = 0; r < 10; r++) {
      for (int64_t k = 0; k < 8; k++) two.set(tile, r, k, test.get(o.tiles[size_t(i)], r, k));
    }
    two.op(ZO2_OP_CROSS_ENTROPY,
           {double(logprob), double(state), double(x), double(tile), double(targets), double(i * 10),
            double(i == 0 ? ZO2_TILE_FIRST : 0)},
           {logprob, state});
  }
  for (int64_t r = 0; r < 4; r++) {
    for (int64_t k = 0; k < 8; k++) two.set(x, r, k, test.get(o.x, r, k));
    for (int64_t k = 0; k < 2; k++) two.set(targets, r, k, test.get(o.targets, r, k));
  }
  zo2::test::through_contract(two, [&] {
    CHECK(!std::isnan(two.get(logprob, 0, 0)) && !std::isnan(two.get(logprob, 1, 0)),
          "targets of the tiles that were seen have a value");
    CHECK(std::isnan(two.get(logprob, 2, 0)) && std::isnan(two.get(logprob, 3, 0)),
          "targets of the tile that was not seen are NaN");
  });
  zo2::test::through_contract(test, [&] {
    CHECK(std::isnan(test.get(o.logprob, 3, 0)), "a target in no tile is NaN at the end");
    CHECK(!std::isnan(test.get(o.logprob, 2, 0)), "a target of the last tile has a value");
  });
}

void test_bad_target() {
  OpCase test("a target that names no row");
  Random random(6);
  const Operands o = CrossEntropyCases::declare(test, {4, 3, {20}, 8});
  test.randomise(o.x, random, 1);
  test.randomise(o.tiles[0], random, 1);
  for (int64_t t = 0; t < 3; t++) {
    // Row 4 exists at the maximum, not in this run.
    test.set(o.targets, t, 0, t == 2 ? 4 : 0);
    test.set(o.targets, t, 1, 1);
  }
  test.run_refused("target 2 names row 4");
}

}  // namespace

int main() {
  const CrossEntropyCases cases(zo2::test::through_contract);
  cases.all();
  cases.walks();
  cases.dtypes();
  cases.extremes();
  cases.not_a_number();
  cases.minus_infinity();
  test_unfinished();
  test_bad_target();
  return zo2::test::report();
}
