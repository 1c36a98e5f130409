// Cases of the ops that copy rows: embed, gatherRows, scatterRows, cast and transpose, whose results are exact but for
// embed's sums. See op_case.h for what every case checks besides.
#pragma once

#include <utility>

#include "op_case.h"

namespace zo2::test {

class CopyCases {
 public:
  explicit CopyCases(Runner run) : run_(std::move(run)) {}

  void all() const {
    for (int64_t m : {0, 1, 33}) {
      for (int64_t n : {1, 7, 8, 40}) {
        for (zo2_dtype out : kFloats) {
          for (zo2_dtype in : kFloats) {
            embed(m, n, out, in, false);
            embed(m, n, out, in, true);
            gather_rows(m, n, out, in);
          }
        }
      }
    }
    gathered_table();
    embed(5, 8, ZO2_F32, ZO2_F32, false, 0, 0);
    for (zo2_dtype in : kFloats) {
      for (zo2_dtype out : kFloats) {
        for (int64_t n : {1, 8, 63, 200}) {
          cast(17, n, out, in);
          scatter_rows(17, n, out, in);
          transpose(17, n, out, in);
        }
        // Around the tiles of both backends.
        for (int64_t m : {1, 63, 64, 65}) transpose(m, 130, out, in);
      }
    }
    for (int64_t m : {0, 1, 300}) {
      cast(m, 24, ZO2_BF16, ZO2_F32);
      scatter_rows(m, 24, ZO2_BF16, ZO2_F32);
    }
    scatter_rows(3, 5000, ZO2_F16, ZO2_F32);
    transpose(300, 200, ZO2_BF16, ZO2_BF16);
    transpose(200, 1, ZO2_F16, ZO2_F32);
    transpose(1, 200, ZO2_F16, ZO2_F16);
    few_rows();
    aligned();
  }

  // Past the contract, which asks for a table of rowCount rows, or of rows that a run tells.
  void embed_of_fewer_rows() const {
    OpCase test("embed from a table with fewer rows than rowCount");
    Random random(9);
    const int out = test.operand(C, ZO2_F32, 5, 8), table = test.operand(W, ZO2_F32, 2, 8),
              index = test.operand(I, ZO2_I32, 5, 1);
    test.randomise(out, random, 1);
    test.randomise(table, random, 1);
    for (int64_t r = 0; r < 5; r++) test.set(index, r, 0, static_cast<double>(r));
    test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), 1, 6, 0}, {out});
    run_(test, [&] {
      test.expect_exact(out, [&](int64_t r, int64_t c) {
        return r == 1 || r == 2 ? test.get(table, r - 1, c) : test.before(out, r, c);
      });
    });
  }

 private:
  enum { W = ZO2_SPACE_WEIGHTS, C = ZO2_SPACE_CARRIED, T = ZO2_SPACE_WORKSPACE, I = ZO2_SPACE_INPUTS };
  static constexpr int kRows = -1 - ZO2_SYMBOL_ROWS;
  static constexpr zo2_dtype kFloats[] = {ZO2_F32, ZO2_F16, ZO2_BF16};

  // Few rows, and more columns than a block of a kernel takes at once.
  void few_rows() const {
    for (const int64_t alignment : {0, 16}) {
      const OpCase::Aligned aligned(alignment);
      for (zo2_dtype in : kFloats) {
        for (zo2_dtype out : kFloats) {
          for (int64_t n : {1, 8, 13, 4104}) {
            for (bool accumulate : {false, true}) embed(9, n, out, in, accumulate, 3, 6);
            gather_rows(7, n, out, in);
            cast(5, n, out, in);
            scatter_rows(5, n, out, in);
          }
          for (int64_t m : {1, 63, 64, 65}) transpose(m, 140, out, in);
          cast(1, 9000, out, in);
          cast(700, 3, out, in);
        }
      }
    }
  }

  void aligned() const {
    const OpCase::Aligned aligned;
    for (zo2_dtype out : kFloats) {
      for (zo2_dtype in : kFloats) {
        for (int64_t n : {5, 64, 100, 777}) {
          embed(9, n, out, in, false);
          embed(9, n, out, in, true);
          gather_rows(9, n, out, in);
          cast(9, n, out, in);
          scatter_rows(9, n, out, in);
          transpose(9, n, out, in);
        }
      }
    }
  }

  void embed(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype table_dtype, bool accumulate, int64_t start = 7,
             int64_t count = 11) const {
    OpCase test(label(accumulate ? "embed +=" : "embed", m, n, count, out_dtype, table_dtype));
    Random random(static_cast<uint64_t>(m * 1000 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 5, static_cast<uint64_t>(m));
    const int64_t vocabulary = 40;
    const int out = test.operand(C, out_dtype, kRows, n, 3), table = test.operand(W, table_dtype, count, n, 1),
              index = test.operand(I, ZO2_I32, kRows, 1, 1);
    test.randomise(out, random, 1);
    test.randomise(table, random, 1);
    for (int64_t r = 0; r < m; r++)
      test.set(index, r, 0, static_cast<double>(r == 0 ? start + count - 1 : random.below(vocabulary) - 2));
    test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), double(start), double(count), double(accumulate)},
            {out});
    run_(test, [&] {
      test.expect(
          out,
          [&](int64_t r, int64_t c) {
            const int64_t row = static_cast<int64_t>(test.get(index, r, 0)) - start;
            if (row < 0 || row >= count) return test.before(out, r, c);
            return test.get(table, row, c) + (accumulate ? test.before(out, r, c) : 0.0);
          },
          [&](int64_t, int64_t) { return accumulate ? 1e-7 : 0.0; });
    });
  }

  void gathered_table() const {
    OpCase test("embed from a gathered table with fewer rows than at most");
    Random random(3);
    test.symbol(ZO2_SYMBOL_ROWS, 6, 6);
    test.symbol(ZO2_SYMBOL_TABLE_ROWS, 9, 2);
    const int out = test.operand(C, ZO2_F32, kRows, 5), table = test.operand(W, ZO2_F32, -1 - ZO2_SYMBOL_TABLE_ROWS, 5),
              index = test.operand(I, ZO2_I32, kRows, 1);
    test.randomise(out, random, 1);
    test.randomise(table, random, 1);
    for (int64_t r = 0; r < 6; r++) test.set(index, r, 0, static_cast<double>(r));
    test.op(ZO2_OP_EMBED, {double(out), double(table), double(index), 0, 9, 0}, {out});
    run_(test, [&] {
      test.expect_exact(out,
                        [&](int64_t r, int64_t c) { return r < 2 ? test.get(table, r, c) : test.before(out, r, c); });
    });
  }

  void gather_rows(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) const {
    OpCase test(label("gatherRows", m, n, 0, out_dtype, x_dtype));
    Random random(static_cast<uint64_t>(m + n));
    test.symbol(ZO2_SYMBOL_ROWS, 50, 37);
    test.symbol(ZO2_SYMBOL_HEAD_ROWS, static_cast<uint64_t>(m) + 1, static_cast<uint64_t>(m));
    const int out = test.operand(T, out_dtype, -1 - ZO2_SYMBOL_HEAD_ROWS, n, 2),
              x = test.operand(C, x_dtype, kRows, n, 5);
    const int index = test.operand(I, ZO2_I32, -1 - ZO2_SYMBOL_HEAD_ROWS, 1);
    test.randomise(x, random, 1);
    for (int64_t r = 0; r < m; r++) test.set(index, r, 0, static_cast<double>(r == 0 ? 36 : random.below(37)));
    test.op(ZO2_OP_GATHER_ROWS, {double(out), double(x), double(index)}, {out});
    run_(test, [&] {
      test.expect_exact(
          out, [&](int64_t r, int64_t c) { return test.get(x, static_cast<int64_t>(test.get(index, r, 0)), c); });
    });
  }

  void cast(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) const {
    OpCase test(label("cast", m, n, 0, out_dtype, x_dtype));
    Random random(static_cast<uint64_t>(m * 100 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
    const int x = test.operand(C, x_dtype, kRows, n, 4), out = test.operand(T, out_dtype, kRows, n, 1);
    test.randomise(x, random, 3);
    test.op(ZO2_OP_CAST, {double(out), double(x)}, {out});
    run_(test, [&] { test.expect_exact(out, [&](int64_t r, int64_t c) { return test.get(x, r, c); }); });
  }

  // The matrix beside `x` is a slice of a wider one with further rows, as a key/value cache has.
  void scatter_rows(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) const {
    OpCase test(label("scatterRows", m, n, 0, out_dtype, x_dtype));
    Random random(static_cast<uint64_t>(m * 10 + n));
    test.symbol(ZO2_SYMBOL_ROWS, static_cast<uint64_t>(m) + 2, static_cast<uint64_t>(m));
    const int64_t slots = m + 7;
    const int cache = test.operand(ZO2_SPACE_CACHE, out_dtype, slots, 3 * n, 3), out = test.slice(cache, n, n);
    const int x = test.operand(C, x_dtype, kRows, n, 4), index = test.operand(I, ZO2_I32, kRows, 1, 1);
    test.randomise(cache, random, 1);
    test.randomise(x, random, 3);
    // Every row once, in a mixed order: 1 + 3 r modulo a number that 3 does not divide.
    const int64_t modulus = slots % 3 == 0 ? slots - 1 : slots;
    for (int64_t r = 0; r < m; r++) test.set(index, r, 0, double((1 + 3 * r) % modulus));
    test.op(ZO2_OP_SCATTER_ROWS, {double(out), double(x), double(index)}, {out});
    run_(test, [&] {
      std::vector<int64_t> from(size_t(slots), -1);
      for (int64_t r = 0; r < m; r++) from[size_t(test.get(index, r, 0))] = r;
      const auto row = [&](int64_t r) { return from[size_t(r)]; };
      test.expect_exact(
          out, [&](int64_t r, int64_t c) { return row(r) < 0 ? test.before(out, r, c) : test.get(x, row(r), c); });
    });
  }

  void transpose(int64_t m, int64_t n, zo2_dtype out_dtype, zo2_dtype x_dtype) const {
    OpCase test(label("transpose", m, n, 0, out_dtype, x_dtype));
    Random random(static_cast<uint64_t>(m * 100 + n));
    const int x = test.operand(W, x_dtype, m, n, 4), out = test.operand(T, out_dtype, n, m, 1);
    test.randomise(x, random, 3);
    test.op(ZO2_OP_TRANSPOSE, {double(out), double(x)}, {out});
    run_(test, [&] { test.expect_exact(out, [&](int64_t r, int64_t c) { return test.get(x, c, r); }); });
  }

  const Runner run_;
};

}  // namespace zo2::test
