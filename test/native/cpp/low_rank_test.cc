// Low-rank noise has the rank that it says: minors vanish, steps of one interval share the columns' factors and not the
// rows', and elements have the variance `rank`.
#include "numerics/low_rank.h"

#include <math.h>

#include <algorithm>
#include <vector>

#include "cpu/ops/noise.h"
#include "test/native/cpp/check.h"

using namespace zo2;

namespace {

constexpr uint64_t kOrigin = 1280, kRows = 300, kWidth = 200;

using Values = std::vector<double>;

// A matrix of noise, row by row.
Values matrix(uint32_t rank, uint32_t step, uint32_t interval, uint32_t direction = 0) {
  const cpu::TileKernels& kernels = cpu::tile_kernels(false);
  const cpu::NoiseSource source = {ZO2_NOISE_LOW_RANK, 7, step, direction, nullptr, rank, step - step % interval,
                                   {kOrigin, kWidth}};
  Values all;
  for (uint64_t first = 0; first < kRows * kWidth; first += cpu::kTile) {
    float z[cpu::kTile];
    const uint32_t end = static_cast<uint32_t>(std::min<uint64_t>(cpu::kTile, kRows * kWidth - first));
    cpu::fill_noise_tile(kernels, source, kOrigin + first, cpu::kTile, 0, end, z);
    all.insert(all.end(), z, z + end);
  }
  return all;
}

double entry(const Values& z, uint64_t row, uint64_t column) { return z[row * kWidth + column]; }

// The determinant of the first n rows and columns from `at` on, by elimination with pivots.
double minor(const Values& z, uint64_t at, int n) {
  std::vector<Values> a;
  for (int i = 0; i < n; ++i) {
    a.emplace_back();
    for (int j = 0; j < n; ++j)
      a.back().push_back(entry(z, at + static_cast<uint64_t>(i), 2 * at + static_cast<uint64_t>(j)));
  }
  double product = 1;
  for (size_t k = 0; k < a.size(); ++k) {
    size_t pivot = k;
    for (size_t i = k; i < a.size(); ++i) pivot = fabs(a[i][k]) > fabs(a[pivot][k]) ? i : pivot;
    std::swap(a[k], a[pivot]);
    product *= a[k][k];
    for (size_t i = k + 1; i < a.size(); ++i) {
      const double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < a.size(); ++j) a[i][j] -= factor * a[k][j];
    }
  }
  return product;
}

void the_rank_is_what_it_says() {
  for (const int rank : {1, 2, 3}) {
    const Values z = matrix(static_cast<uint32_t>(rank), 4, 3);
    double full = 0, beyond = 0;
    for (uint64_t at = 0; at < 60; ++at) {
      full = std::max(full, fabs(minor(z, at, rank)));
      beyond = std::max(beyond, fabs(minor(z, at, rank + 1)));
    }
    CHECK(full > 1 && beyond < 1e-3, "rank %d: minors of %g and, one larger, %g", rank, full, beyond);
  }
}

// What the columns' factors are, but for their size: a row, divided by its largest element.
Values columns_of(const Values& z) {
  double largest = 0;
  for (uint64_t c = 0; c < kWidth; ++c) largest = fabs(entry(z, 0, c)) > fabs(largest) ? entry(z, 0, c) : largest;
  Values columns;
  for (uint64_t c = 0; c < kWidth; ++c) columns.push_back(entry(z, 0, c) / largest);
  return columns;
}

double distance(const Values& a, const Values& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, fabs(a[i] - b[i]));
  return most;
}

void an_interval_shares_its_columns() {
  const Values four = matrix(1, 4, 4), seven = matrix(1, 7, 4), eight = matrix(1, 8, 4), other = matrix(1, 4, 4, 1);
  CHECK(distance(columns_of(four), columns_of(seven)) < 1e-6, "steps 4 and 7 have the same columns");
  CHECK(distance(columns_of(four), columns_of(eight)) > 0.1, "step 8 begins an interval");
  CHECK(distance(columns_of(four), columns_of(other)) > 0.1, "each direction has columns of its own");
  double rows = 0;
  for (uint64_t r = 1; r < kRows; ++r)
    rows = std::max(rows, fabs(entry(four, r, 0) / entry(four, 0, 0) - entry(seven, r, 0) / entry(seven, 0, 0)));
  CHECK(rows > 0.1, "each step has rows of its own");
}

// Means of u^2 and of v^2 deviate by sqrt(2 / rows) and sqrt(2 / columns).
void elements_have_the_variance_of_the_rank() {
  for (const uint32_t rank : {1u, 4u}) {
    double squares = 0, sum = 0;
    for (uint32_t step = 0; step < 20; ++step) {
      for (const double z : matrix(rank, step, 1)) squares += z * z, sum += z;
    }
    const double n = 20.0 * kRows * kWidth, deviation = sqrt((2.0 / kRows + 2.0 / kWidth) / 20.0 / rank);
    CHECK(fabs(squares / n / rank - 1) < 5 * deviation, "rank %u: variance %g", rank, squares / n);
    CHECK(fabs(sum / n) < 5 * sqrt(rank / 20.0 / kRows / kWidth), "rank %u: mean %g", rank, sum / n);
  }
}

}  // namespace

int main() {
  the_rank_is_what_it_says();
  an_interval_shares_its_columns();
  elements_have_the_variance_of_the_rank();
  return test::report();
}
