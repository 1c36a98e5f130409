// Every normal lies within 1e-6 of its definition in exact arithmetic: shown for all 2^23 radii and all 2^24 angles,
// and for their combinations by a bound over classes of both.
#include "numerics/gaussian.h"

#include <math.h>

#include <algorithm>

#include "cpu/ops/noise.h"
#include "cpu/ops/tile.h"
#include "test/native/cpp/check.h"

using namespace zo2;
using numerics::ScalarOps;

// Radii and |cos|, |sin| fall into classes of equal width; for each class the largest error and the largest value.
constexpr int kClasses = 128;
constexpr double kLargestRadius = 5.78;

struct Class {
  double error = 0;
  double value = 0;
  void add(double exact, double computed) {
    error = std::max(error, fabs(exact - computed));
    value = std::max(value, std::max(fabs(exact), fabs(computed)));
  }
};

static Class radii[kClasses], cosines[kClasses], sines[kClasses];

static int class_of(double value, double largest) {
  return std::min(kClasses - 1, static_cast<int>(fabs(value) / largest * kClasses));
}

static void every_radius() {
  uint32_t not_finite = 0;
  for (uint32_t k = 0; k < 1u << 23; ++k) {
    const float r = numerics::gaussian_radius<ScalarOps>(k << 9);
    const double exact = sqrt(-2.0 * log((2.0 * k + 1.0) * 0x1p-24));
    not_finite += !(r > 0.0f && r < kLargestRadius);
    radii[class_of(exact, kLargestRadius)].add(exact, static_cast<double>(r));
  }
  CHECK(not_finite == 0, "%u radii are outside (0, 5.78)", not_finite);
}

static void every_angle() {
  for (uint32_t k = 0; k < 1u << 24; ++k) {
    float cosine, sine;
    numerics::gaussian_angle<ScalarOps>(k << 8, cosine, sine);
    const double t = (2.0 * (k < 1u << 23 ? static_cast<double>(k) : k - 0x1p24) + 1.0) * 0x1p-25;
    const double exact_cosine = cos(M_PI * t), exact_sine = sin(M_PI * t);
    cosines[class_of(exact_cosine, 1.0)].add(exact_cosine, static_cast<double>(cosine));
    sines[class_of(exact_sine, 1.0)].add(exact_sine, static_cast<double>(sine));
  }
}

// |fl(r c) - R C| <= |r - R| |C| + |r| |c - C| + half a unit in the last place of the product.
static double worst_product(const Class* trigonometric) {
  double worst = 0;
  for (int i = 0; i < kClasses; ++i) {
    for (int j = 0; j < kClasses; ++j) {
      const double r = radii[i].value, c = trigonometric[j].value;
      const double product = r * c;
      const double half_unit = product > 0 ? 0.5 * exp2(floor(log2(product)) - 23) : 0;
      worst = std::max(worst, radii[i].error * c + r * trigonometric[j].error + half_unit);
    }
  }
  return worst;
}

// 2^24 words through the kernels that are in use, each against double precision.
static void sampled_words(const cpu::TileKernels& kernels) {
  const numerics::NoiseStream stream = numerics::noise_stream(99, 7, numerics::kPurposeGaussian, 3);
  float z[cpu::kTile];
  double worst = 0;
  for (uint64_t first = 0; first < 1u << 22; first += cpu::kTile) {
    kernels.gaussian(stream, first, cpu::kTile, z);
    for (uint32_t i = 0; i < cpu::kTile; i += 2) {
      const uint64_t index = first + i;
      const numerics::PhiloxWords words = numerics::philox_at(stream, index >> 2);
      const uint32_t radius_word = words.x[index & 2], angle_word = words.x[(index & 2) + 1];
      const double u = ((radius_word >> 9) + 0.5) * 0x1p-23;
      const double t = (static_cast<double>(static_cast<int32_t>(angle_word & 0xffffff00u)) + 128.0) * 0x1p-32;
      const double r = sqrt(-2.0 * log(u)) * (angle_word & 1 ? -1.0 : 1.0);
      worst = std::max({worst, fabs(r * cos(M_PI * t) - static_cast<double>(z[i])),
                        fabs(r * sin(M_PI * t) - static_cast<double>(z[i + 1]))});
    }
  }
  printf("%s: largest error over 2^22 normals %.3g\n", kernels.name, worst);
  CHECK(worst < 1e-6, "%s: %.3g", kernels.name, worst);
}

int main() {
  every_radius();
  every_angle();
  const double with_cosine = worst_product(cosines), with_sine = worst_product(sines);
  printf("bound over every radius with every angle: cosine %.3g, sine %.3g\n", with_cosine, with_sine);
  CHECK(with_cosine < 1e-6, "%.3g", with_cosine);
  CHECK(with_sine < 1e-6, "%.3g", with_sine);
  sampled_words(cpu::generic_tile_kernels());
  sampled_words(cpu::tile_kernels(false));
  return test::report();
}
