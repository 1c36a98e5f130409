#include "cuda/ops/fill.cuh"

#include <algorithm>

#include "cuda/kernel.h"

namespace zo2::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr uint64_t kVector = sizeof(uint4);
// Blocks per multiprocessor that are enough to keep memory busy.
constexpr uint64_t kBlocksPerProcessor = 8;

// `head` bytes, then `vectors` aligned pieces of 16 bytes, then `tail` bytes; head and tail are shorter than a vector.
struct Pieces {
  uint8_t* data;
  uint64_t head;
  uint64_t vectors;
  uint64_t tail;
};

__global__ void __launch_bounds__(kThreads) fill_kernel(Pieces p, uint32_t byte, const uint32_t* poison) {
  if (*poison != 0) return;
  const uint64_t thread = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint32_t word = byte * 0x01010101u;
  uint4* const middle = reinterpret_cast<uint4*>(p.data + p.head);
  for (uint64_t i = thread; i < p.vectors; i += static_cast<uint64_t>(gridDim.x) * kThreads)
    middle[i] = make_uint4(word, word, word, word);
  if (thread < p.head) p.data[thread] = static_cast<uint8_t>(byte);
  if (thread < p.tail) p.data[p.head + p.vectors * kVector + thread] = static_cast<uint8_t>(byte);
}

}  // namespace

cudaError_t launch_fill(const Launch& launch, const contract::FillCommand& command) {
  if (command.bytes == 0) return cudaSuccess;
  const uint64_t to_boundary = (kVector - reinterpret_cast<uintptr_t>(command.to) % kVector) % kVector;
  Pieces p{};
  p.data = command.to;
  p.head = std::min(to_boundary, command.bytes);
  p.vectors = (command.bytes - p.head) / kVector;
  p.tail = command.bytes - p.head - p.vectors * kVector;
  const uint64_t most = kBlocksPerProcessor * static_cast<uint64_t>(launch.traits->multiprocessors);
  const uint64_t blocks = std::max<uint64_t>(1, std::min(most, (p.vectors + kThreads - 1) / kThreads));
  return ZO2_LAUNCH(fill_kernel, static_cast<unsigned>(blocks), kThreads, 0, launch.stream, p,
                    static_cast<uint32_t>(command.byte), launch.poison());
}

}  // namespace zo2::cuda
