// Statistics of 10^7 draws. Every bound is five standard deviations of the statistic for independent draws of the ideal
// distribution (one in 1.7 million), or for Kolmogorov-Smirnov the level of 1e-6. The draws are fixed, so the test
// passes or fails for good.
#include <math.h>

#include <algorithm>
#include <vector>

#include "cpu/ops/noise.h"
#include "test/native/cpp/check.h"

using namespace zo2;

constexpr uint64_t kDraws = 10000000;
static const double kRoot = sqrt(static_cast<double>(kDraws));

struct Where {
  uint64_t seed;
  uint32_t step;
  uint32_t direction;
  uint64_t first;
};

static std::vector<float> draw(zo2_noise_kind kind, const Where& where) {
  std::vector<float> z(kDraws);
  cpu::fill_noise(z.data(), where.first, kDraws, kind, where.seed, where.step, where.direction);
  return z;
}

static void within(double value, double expected, double deviation, const char* what) {
  CHECK(fabs(value - expected) <= 5 * deviation, "%s is %.6g, expected %.6g within %.3g", what, value, expected,
        5 * deviation);
}

static void gaussian_shape(std::vector<float> z) {
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, tails[5] = {};
  for (const float x : z) {
    const double v = static_cast<double>(x);
    m1 += v, m2 += v * v, m3 += v * v * v, m4 += v * v * v * v;
    for (int s = 2; s <= 4; ++s) tails[s] += fabs(v) > s;
  }
  const double n = static_cast<double>(kDraws);
  within(m1 / n, 0, 1 / kRoot, "mean");
  within(m2 / n, 1, sqrt(2.0) / kRoot, "second moment");
  within(m3 / n, 0, sqrt(15.0) / kRoot, "third moment");
  within(m4 / n, 3, sqrt(96.0) / kRoot, "fourth moment");
  const char* names[] = {"", "", "share beyond 2 sigma", "share beyond 3 sigma", "share beyond 4 sigma"};
  for (int s = 2; s <= 4; ++s) {
    const double p = erfc(s / sqrt(2.0));
    within(tails[s] / n, p, sqrt(p * (1 - p)) / kRoot, names[s]);
  }
  std::sort(z.begin(), z.end());
  double distance = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double f = 0.5 * erfc(-static_cast<double>(z[i]) / sqrt(2.0));
    distance = std::max({distance, f - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - f});
  }
  const double limit = sqrt(0.5 * log(2 / 1e-6));
  printf("gaussian: mean %.2e, variance %.6f, skew %.2e, kurtosis %.5f, KS %.3f (limit %.3f), largest %.3f\n", m1 / n,
         m2 / n, m3 / n, m4 / n, distance * kRoot, limit, static_cast<double>(std::max(-z.front(), z.back())));
  CHECK(distance * kRoot < limit, "Kolmogorov-Smirnov distance %.3f", distance * kRoot);
}

// The same bits seen as pairs: noise at `shift` elements further on, which also pairs cosine with sine and word pair
// with word pair.
static void shifted(const std::vector<float>& z, bool squares) {
  for (const uint64_t shift : {1, 2, 3, 4, 5, 31, 32, 33, 64, 127, 128, 129, 256, 512, 768, 4096}) {
    double product = 0, product_of_squares = 0;
    for (uint64_t i = 0; i + shift < kDraws; ++i) {
      const double a = static_cast<double>(z[i]), b = static_cast<double>(z[i + shift]);
      product += a * b;
      product_of_squares += (a * a - 1) * (b * b - 1) / 2;
    }
    const double n = static_cast<double>(kDraws - shift);
    CHECK(fabs(product / n) <= 5 / kRoot, "correlation with the element %llu further is %.3g",
          static_cast<unsigned long long>(shift), product / n);
    if (squares) {
      CHECK(fabs(product_of_squares / n) <= 5 / kRoot, "correlation of squares with the element %llu further is %.3g",
            static_cast<unsigned long long>(shift), product_of_squares / n);
    }
  }
}

static void independent(const std::vector<float>& z, const std::vector<float>& other, const char* what) {
  double product = 0, product_of_squares = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double a = static_cast<double>(z[i]), b = static_cast<double>(other[i]);
    product += a * b;
    product_of_squares += (a * a - 1) * (b * b - 1) / 2;
  }
  const double n = static_cast<double>(kDraws);
  CHECK(fabs(product / n) <= 5 / kRoot, "correlation across %s is %.3g", what, product / n);
  CHECK(fabs(product_of_squares / n) <= 5 / kRoot, "correlation of squares across %s is %.3g", what,
        product_of_squares / n);
}

static void independent_of_everything(zo2_noise_kind kind, const std::vector<float>& z) {
  const Where others[] = {
      {11, 4, 0, 0},          {11, 3, 1, 0},        {12, 3, 0, 0},       {11ull | 1ull << 32, 3, 0, 0},
      {11, 3, 0, 1ull << 34}, {11, 3, 0, 12800000}, {11, 1u << 31, 0, 0}};
  const char* names[] = {
      "steps",      "directions",      "seeds", "seeds that differ in the high word", "indices 2^34 apart",
      "parameters", "steps 2^31 apart"};
  for (size_t k = 0; k < sizeof others / sizeof *others; ++k) independent(z, draw(kind, others[k]), names[k]);
}

static void rademacher_shape(const std::vector<float>& z) {
  double sum = 0, at_bit[128] = {};
  uint64_t not_signs = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    not_signs += z[i] != 1.0f && z[i] != -1.0f;
    sum += static_cast<double>(z[i]);
    at_bit[i % 128] += static_cast<double>(z[i]);
  }
  const double n = static_cast<double>(kDraws);
  CHECK(not_signs == 0, "%llu values are neither +1 nor -1", static_cast<unsigned long long>(not_signs));
  within(sum / n, 0, 1 / kRoot, "mean of the signs");
  for (int bit = 0; bit < 128; ++bit)
    within(at_bit[bit] / (n / 128), 0, 1 / sqrt(n / 128), "mean of one of the 128 bits");
  // Runs: a sign differs from the one before it half of the time.
  double changes = 0;
  for (uint64_t i = 1; i < kDraws; ++i) changes += z[i] != z[i - 1];
  within(changes / (n - 1), 0.5, 0.5 / kRoot, "share of sign changes");
  printf("rademacher: mean %.2e, sign changes %.6f\n", sum / n, changes / (n - 1));
}

int main() {
  const Where here = {11, 3, 0, 0};
  {
    const std::vector<float> z = draw(ZO2_NOISE_GAUSSIAN, here);
    gaussian_shape(z);
    shifted(z, true);
    independent_of_everything(ZO2_NOISE_GAUSSIAN, z);
  }
  {
    const std::vector<float> z = draw(ZO2_NOISE_RADEMACHER, here);
    rademacher_shape(z);
    shifted(z, false);
    for (const Where& other :
         {Where{11, 4, 0, 0}, Where{11, 3, 1, 0}, Where{12, 3, 0, 0}, Where{11, 3, 0, 1ull << 39}}) {
      const std::vector<float> z2 = draw(ZO2_NOISE_RADEMACHER, other);
      double product = 0;
      for (uint64_t i = 0; i < kDraws; ++i) product += static_cast<double>(z[i]) * static_cast<double>(z2[i]);
      within(product / static_cast<double>(kDraws), 0, 1 / kRoot, "correlation of signs across coordinates");
    }
  }
  return test::report();
}
