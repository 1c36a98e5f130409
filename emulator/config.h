// What the environment chooses; read once, at the first use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zo2::emu {

enum class Order { kForward, kReverse, kRandom };  // of threads and blocks
enum class Progress { kEager, kLazy, kRandom };    // of streams

struct Config {
  Order order;        // ZO2_EMU_ORDER = seq | rev | rand
  Progress progress;  // ZO2_EMU_STREAMS = eager | lazy | rand
  uint64_t seed;      // ZO2_EMU_SEED
  int resident;       // ZO2_EMU_RESIDENT: blocks that run interleaved
  int capability;     // ZO2_EMU_CAPABILITY = 80 | 90 | ...: 10 x major + minor
  uint64_t memory;    // ZO2_EMU_MEMORY: bytes of device memory

  // Bytes of dynamic shared memory that a block may ask for.
  size_t shared_limit() const { return shared_per_multiprocessor() - 1024; }
  // Bytes of shared memory of a multiprocessor, 1 KiB of which every block takes for itself: CUDA C++ Programming
  // Guide, "Technical Specifications per Compute Capability".
  size_t shared_per_multiprocessor() const {
    const bool large = capability == 90 || capability == 100 || capability == 103;
    const bool medium = capability == 80 || capability == 87;
    return (large ? 228 : medium ? 164 : 100) << 10;
  }
};

const Config& config();

}  // namespace zo2::emu
