#include "cuda/ops/copy.cuh"

#include <algorithm>

#include "cuda/kernel.h"

namespace zo2::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr uint64_t kVector = sizeof(uint4);
// Enough to keep the link busy: each thread has a vector on its way.
constexpr uint64_t kBlocksPerProcessor = 4;

// `head` bytes, then `vectors` pieces of 16 bytes that are aligned in both places, then `tail` bytes.
struct Pieces {
  uint8_t* to;
  const uint8_t* from;
  uint64_t head;
  uint64_t vectors;
  uint64_t tail;
};

__global__ void __launch_bounds__(kThreads) copy_kernel(Pieces p, const uint32_t* poison) {
  if (*poison != 0) return;
  const uint64_t thread = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint64_t threads = static_cast<uint64_t>(gridDim.x) * kThreads;
  for (uint64_t i = thread; i < p.head; i += threads) p.to[i] = p.from[i];
  const uint4* const read = reinterpret_cast<const uint4*>(p.from + p.head);
  uint4* const written = reinterpret_cast<uint4*>(p.to + p.head);
  for (uint64_t i = thread; i < p.vectors; i += threads) written[i] = read[i];
  const uint64_t end = p.head + p.vectors * kVector;
  for (uint64_t i = thread; i < p.tail; i += threads) p.to[end + i] = p.from[end + i];
}

}  // namespace

cudaError_t launch_copy(const Launch& launch, const contract::CopyCommand& command) {
  if (command.bytes == 0) return cudaSuccess;
  const auto to = reinterpret_cast<uintptr_t>(command.to);
  const auto from = reinterpret_cast<uintptr_t>(command.from);
  Pieces p{};
  p.to = command.to;
  p.from = command.from;
  // Where the two are never aligned together, all of it is head.
  p.head = (to - from) % kVector != 0 ? command.bytes : std::min<uint64_t>((0 - to) % kVector, command.bytes);
  p.vectors = (command.bytes - p.head) / kVector;
  p.tail = command.bytes - p.head - p.vectors * kVector;
  const uint64_t most = kBlocksPerProcessor * static_cast<uint64_t>(launch.traits->multiprocessors);
  const uint64_t work = std::max(p.vectors, p.head);
  const uint64_t blocks = std::max<uint64_t>(1, std::min(most, (work + kThreads - 1) / kThreads));
  return ZO2_LAUNCH(copy_kernel, static_cast<unsigned>(blocks), kThreads, 0, launch.stream, p, launch.poison());
}

}  // namespace zo2::cuda
