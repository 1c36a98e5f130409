// How fast the CPU backend's ops are at OPT-125M shapes, through programs, as a training step runs them. Prints one
// JSON object.
//
//   cmake -S . -B build-bench -DZO2_BENCH=ON -DZO2_TESTS=ON -DZO2_CUDA=off && cmake --build build-bench --target matmul
//   build-bench/bench/matmul [threads] [repetitions]
//
// Each op is warmed up once and then timed `repetitions` times; median and best are given. GFLOP/s count multiply and
// add as two, for attention over the causal half only. Other work on the same cores spoils the figures; the processor
// time of one thread stands it best (`matmul 1`).
#include "cpu/ops/matmul.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "contract/commands.h"
#include "cpu/program_run.h"
#include "cpu/runtime/device.h"

namespace {

using zo2::contract::RunCommand;
using zo2::cpu::Device;
using zo2::cpu::DeviceProgram;

struct Spaces {
  std::vector<float> memory[ZO2_SPACES];
};

class Bench {
 public:
  // Adds rows x cols elements of 4 bytes to a space and returns the operand's index.
  int operand(int space, int dtype, int64_t rows, int64_t cols) {
    std::vector<float>& memory = spaces_.memory[space];
    const size_t first = (memory.size() + 15) / 16 * 16;
    memory.resize(first + static_cast<size_t>(rows * cols));
    for (size_t i = first; i < memory.size(); i++)
      memory[i] = dtype == ZO2_I32 ? 0.0f : static_cast<float>(i * 2654435761u % 1024) / 512 - 1;
    for (double word : {double(space), double(first * 4), double(dtype), double(rows), double(cols), double(cols)})
      operands_.push_back(word);
    return static_cast<int>(operands_.size() / 6) - 1;
  }

  int32_t* integers(int operand) {
    return reinterpret_cast<int32_t*>(
               spaces_.memory[static_cast<size_t>(operands_[static_cast<size_t>(operand) * 6])].data()) +
           static_cast<size_t>(operands_[static_cast<size_t>(operand) * 6 + 1]) / 4;
  }

  // Prints one row of results.
  void time(const char* name, double gflop, int opcode, const std::vector<double>& op,
            const std::shared_ptr<Device>& device, int repetitions) {
    std::vector<double> words = {4, double(operands_.size() / 6), 1, 0};
    words.insert(words.end(), operands_.begin(), operands_.end());
    words.push_back(opcode);
    words.push_back(double(op.size()));
    words.insert(words.end(), op.begin(), op.end());
    uint64_t bytes[ZO2_SPACES];
    RunCommand run{};
    for (int s = 0; s < ZO2_SPACES; s++) {
      bytes[s] = spaces_.memory[s].size() * 4;
      run.spaces[s] = reinterpret_cast<uint8_t*>(spaces_.memory[s].data());
    }
    const DeviceProgram program(device, words.data(), words.size(), bytes);
    run.program = &program;
    std::vector<double> seconds, processor;
    for (int i = 0; i <= repetitions; i++) {
      const std::clock_t begin = std::clock();
      const auto start = std::chrono::steady_clock::now();
      program.run(run);
      if (i == 0) continue;
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      processor.push_back(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    }
    std::sort(seconds.begin(), seconds.end());
    std::sort(processor.begin(), processor.end());
    const double median = seconds[seconds.size() / 2], best = seconds[0];
    static bool first = true;
    std::printf(
        "%s\n    {\"name\": \"%s\", \"medianMs\": %.3f, \"bestMs\": %.3f, \"medianGflops\": %.1f, \"bestGflops\": "
        "%.1f, \"bestCpuMs\": "
        "%.3f}",
        first ? "" : ",", name, median * 1e3, best * 1e3, gflop / median, gflop / best, processor[0] * 1e3);
    first = false;
  }

 private:
  Spaces spaces_;
  std::vector<double> operands_;
};

void time_linear(int64_t m, int64_t n, int64_t k, int dtype, const std::shared_ptr<Device>& device, int repetitions) {
  Bench bench;
  const int out = bench.operand(ZO2_SPACE_CARRIED, ZO2_F32, m, n),
            x = bench.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, m, k);
  const int weight = bench.operand(ZO2_SPACE_WEIGHTS, dtype, n, k),
            bias = bench.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, n);
  char name[96];
  std::snprintf(name, sizeof name, "linear %lldx%lldx%lld %s", static_cast<long long>(m), static_cast<long long>(n),
                static_cast<long long>(k), dtype == ZO2_F32 ? "f32" : "f16");
  bench.time(name, 2e-9 * double(m) * double(n) * double(k), ZO2_OP_LINEAR,
             {double(out), double(x), double(weight), double(bias), double(out), ZO2_ACTIVATION_RELU, 1, 0}, device,
             repetitions);
}

void time_attention(int64_t sequences, int64_t length, int64_t heads, int64_t width,
                    const std::shared_ptr<Device>& device, int repetitions) {
  Bench bench;
  const int64_t rows = sequences * length, cols = heads * width;
  int matrices[4];
  for (int& matrix : matrices) matrix = bench.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, rows, cols);
  const int table = bench.operand(ZO2_SPACE_INPUTS, ZO2_I32, sequences, 4);
  for (int64_t s = 0; s < sequences; s++) {
    const int32_t row[4] = {static_cast<int32_t>(s * length), static_cast<int32_t>(length), 0, 0};
    std::memcpy(bench.integers(table) + s * 4, row, sizeof row);
  }
  char name[96];
  std::snprintf(name, sizeof name, "attention %lldx%lld, %lld heads of %lld", static_cast<long long>(sequences),
                static_cast<long long>(length), static_cast<long long>(heads), static_cast<long long>(width));
  const double gflop = 4e-9 * double(sequences * heads * width) * double(length) * double(length + 1) / 2;
  bench.time(name, gflop, ZO2_OP_ATTENTION,
             {double(matrices[0]), double(matrices[1]), double(matrices[2]), double(matrices[3]), double(table),
              double(heads), double(heads), 0.125, 0},
             device, repetitions);
}

void time_head(int64_t rows, int64_t vocabulary, int64_t k, const std::shared_ptr<Device>& device, int repetitions) {
  Bench bench;
  const int logprob = bench.operand(ZO2_SPACE_RESULTS, ZO2_F32, rows, 1),
            state = bench.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, rows, 2);
  const int x = bench.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, rows, k),
            weight = bench.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, vocabulary, k);
  const int targets = bench.operand(ZO2_SPACE_INPUTS, ZO2_I32, rows, 2);
  for (int64_t t = 0; t < rows; t++) bench.integers(targets)[2 * t] = static_cast<int32_t>(t);
  char name[96];
  std::snprintf(name, sizeof name, "crossEntropy %lldx%lldx%lld", static_cast<long long>(rows),
                static_cast<long long>(vocabulary), static_cast<long long>(k));
  bench.time(name, 2e-9 * double(rows) * double(vocabulary) * double(k), ZO2_OP_CROSS_ENTROPY,
             {double(logprob), double(state), double(x), double(weight), double(targets), 0, 3}, device, repetitions);
}

void time_norm(int64_t rows, int64_t cols, const std::shared_ptr<Device>& device, int repetitions) {
  Bench bench;
  const int out = bench.operand(ZO2_SPACE_WORKSPACE, ZO2_F32, rows, cols),
            x = bench.operand(ZO2_SPACE_CARRIED, ZO2_F32, rows, cols);
  const int gain = bench.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, cols),
            bias = bench.operand(ZO2_SPACE_WEIGHTS, ZO2_F32, 1, cols);
  char name[96];
  std::snprintf(name, sizeof name, "layerNorm %lldx%lld", static_cast<long long>(rows), static_cast<long long>(cols));
  bench.time(name, 8e-9 * double(rows * cols), ZO2_OP_LAYER_NORM,
             {double(out), double(x), double(gain), double(bias), 1e-5}, device, repetitions);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2, repetitions = argc > 2 ? std::atoi(argv[2]) : 9;
  if (threads < 1 || repetitions < 1) {
    std::fprintf(stderr, "usage: matmul [threads] [repetitions]\n");
    return 2;
  }
  zo2_device_options options = {};
  options.threads = static_cast<uint32_t>(threads);
  const auto device = std::make_shared<Device>(options);
  std::printf("{\n  \"library\": \"%s\", \"threads\": %d, \"repetitions\": %d,\n  \"ops\": [",
              zo2::cpu::matmul_library(), threads, repetitions);
  for (int64_t m : {8, 16, 128, 512, 1024}) {
    time_linear(m, 768, 768, ZO2_F32, device, repetitions);
    time_linear(m, 3072, 768, ZO2_F32, device, repetitions);
    time_linear(m, 768, 3072, ZO2_F32, device, repetitions);
  }
  time_linear(1024, 3072, 768, ZO2_F16, device, repetitions);
  time_attention(8, 128, 12, 64, device, repetitions);
  time_attention(1, 512, 12, 64, device, repetitions);
  time_attention(1, 2048, 12, 64, device, repetitions);
  time_norm(1024, 768, device, repetitions);
  time_head(8, 50272, 768, device, repetitions);
  time_head(16, 50272, 768, device, repetitions);
  time_head(512, 50272, 768, device, repetitions);
  time_head(1024, 50272, 768, device, repetitions);
  std::printf("\n  ]\n}\n");
  device->close();
  return 0;
}
