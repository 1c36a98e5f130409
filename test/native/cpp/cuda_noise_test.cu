// The noise of the CUDA backend is that of numerics/, bit for bit: shown for all 2^23 radii and all 2^24 angles. The
// square root is right for every approximation of the reciprocal root that the PTX manual allows, whatever a device
// answers.
#include <math.h>

#include <vector>

#include "cuda/ops/prepare_noise.cuh"
#include "numerics/gaussian.h"
#include "test/native/cpp/cuda_rig.h"

using namespace zo2;
using numerics::float_bits;
using numerics::ScalarOps;
using test::CudaRig;
using test::Guarded;

namespace {

constexpr uint32_t kRadii = 1u << 23, kAngles = 1u << 24;

// The bits that a radius or an angle does not use are set in every other word.
ZO2_HD inline uint32_t radius_word(uint32_t k) { return k << 9 | (k % 2 == 0 ? 0u : 0x1ffu); }
ZO2_HD inline uint32_t angle_word(uint32_t k) { return k << 8 | (k % 2 == 0 ? 0u : 0xfeu); }

// Pairs of the radius and the angle of thread number k; the radii begin anew after kRadii.
__global__ void pair_kernel(uint32_t begin, float2* pairs) {
  const uint32_t k = blockIdx.x * blockDim.x + threadIdx.x;
  float first, second;
  cuda::noise::gaussian_pair(radius_word((begin + k) % kRadii), angle_word(begin + k) | (k >> 5 & 1u), first, second);
  pairs[k] = make_float2(first, second);
}

void check_pair(uint32_t k, float first, float second) {
  float expected_first, expected_second;
  numerics::gaussian_pair<ScalarOps>(radius_word(k % kRadii), angle_word(k) | (k >> 5 & 1u), expected_first,
                                     expected_second);
  CHECK(float_bits(first) == float_bits(expected_first) && float_bits(second) == float_bits(expected_second),
        "pair %u: %a %a, not %a %a", k, static_cast<double>(first), static_cast<double>(second),
        static_cast<double>(expected_first), static_cast<double>(expected_second));
}

#if ZO2_EMULATED

// The functions are the host's own.
void every_radius_and_angle(CudaRig&) {
  for (uint32_t k = 0; k < kAngles; ++k) {
    float first, second;
    cuda::noise::gaussian_pair(radius_word(k % kRadii), angle_word(k) | (k >> 5 & 1u), first, second);
    check_pair(k, first, second);
  }
}

#else

void every_radius_and_angle(CudaRig& rig) {
  constexpr uint32_t kPart = 1u << 20;
  Guarded pairs(kPart * sizeof(float2));
  for (uint32_t begin = 0; begin < kAngles; begin += kPart) {
    MUST(ZO2_LAUNCH(pair_kernel, kPart / 256, 256, 0, rig.launch().stream, begin, pairs.at<float2>()));
    rig.finish();
    const std::vector<float2> found = pairs.get<float2>();
    for (uint32_t k = 0; k < kPart; ++k) check_pair(begin + k, found[k].x, found[k].y);
  }
}

#endif

// The kernel itself, over a part of them.
void in_a_kernel(CudaRig& rig) {
  Guarded pairs(1024 * sizeof(float2));
  MUST(ZO2_LAUNCH(pair_kernel, 4, 256, 0, rig.launch().stream, 0u, pairs.at<float2>()));
  rig.finish();
  const std::vector<float2> found = pairs.get<float2>();
  for (uint32_t k = 0; k < 1024; ++k) check_pair(k, found[k].x, found[k].y);
}

#if !defined(__CUDACC__)

// Every radicand with every fp32 number that is an approximation within the bound. Root and radicand are checked
// against numerics/.
void every_approximation() {
  uint64_t tried = 0;
  uint32_t wrong = 0;
  for (uint32_t k = 0; k < kRadii; ++k) {
    const float x = cuda::noise::radicand(radius_word(k)), exact = numerics::f32_sqrt(x);
    if (float_bits(exact) != float_bits(numerics::gaussian_radius<ScalarOps>(radius_word(k)))) ++wrong;
    const double reciprocal = 1.0 / sqrt(static_cast<double>(x));
    const double low = reciprocal * (1.0 - cuda::kRsqrtError), high = reciprocal * (1.0 + cuda::kRsqrtError);
    for (float y = static_cast<float>(low); static_cast<double>(y) <= high; y = nextafterf(y, INFINITY)) {
      if (static_cast<double>(y) < low) continue;
      ++tried;
      if (float_bits(cuda::noise::corrected_root(x, y)) != float_bits(exact)) ++wrong;
    }
  }
  printf("square root: %u radicands, %llu approximations of the reciprocal root\n", kRadii,
         static_cast<unsigned long long>(tried));
  CHECK(wrong == 0, "%u roots are wrong", wrong);
  CHECK(tried > 2 * uint64_t{kRadii}, "%llu", static_cast<unsigned long long>(tried));
}

#endif

}  // namespace

int main() {
  CudaRig rig;
  in_a_kernel(rig);
  every_radius_and_angle(rig);
#if !defined(__CUDACC__)
  every_approximation();
#endif
  return test::report();
}
