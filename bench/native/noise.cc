// How fast the CPU backend draws noise alone, on several threads at once: the limit of a replay on this machine. Prints
// one JSON object, in elements a second of all threads.
//
//   cmake -S . -B build-bench -DZO2_BENCH=ON -DZO2_TESTS=ON -DZO2_CUDA=off && cmake --build build-bench --target noise
//   build-bench/bench/noise [threads] [seconds]
#include "cpu/ops/noise.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

// Elements that are drawn between two looks at the clock: they stay in the first cache, as a tile's do.
constexpr uint64_t kPiece = 4096;

double elements_per_second(zo2_noise_kind kind, int threads, double seconds) {
  std::vector<double> rates(static_cast<size_t>(threads));
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; t++) {
    workers.emplace_back([kind, seconds, t, &rate = rates[static_cast<size_t>(t)]] {
      using Clock = std::chrono::steady_clock;
      std::vector<float> z(kPiece);
      uint64_t drawn = 0;
      const Clock::time_point begin = Clock::now();
      double passed = 0;
      while (passed < seconds) {
        zo2::cpu::fill_noise(z.data(), drawn, kPiece, kind, 7, static_cast<uint32_t>(t), 0);
        drawn += kPiece;
        passed = std::chrono::duration<double>(Clock::now() - begin).count();
      }
      rate = static_cast<double>(drawn) / passed;
    });
  }
  double sum = 0;
  for (size_t t = 0; t < workers.size(); t++) {
    workers[t].join();
    sum += rates[t];
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  std::printf("{\"threads\": %d, \"gaussian\": %.4g, \"rademacher\": %.4g}\n", threads,
              elements_per_second(ZO2_NOISE_GAUSSIAN, threads, seconds),
              elements_per_second(ZO2_NOISE_RADEMACHER, threads, seconds));
  return 0;
}
