#include "cuda/ops/gather.cuh"

#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/ops/raise.cuh"

namespace zo2::cuda {
namespace {

using contract::Fault;
using contract::FaultKind;
using contract::GatherCommand;

constexpr int kWarps = 4;               // of a block; each copies pieces of rows
constexpr int kInFlight = 4;            // loads of a lane before its first store: reads over the bus take microseconds
constexpr uint64_t kMostPieces = 1024;  // of a row at a time; longer rows are walked over
constexpr uint64_t kMostBlocks = 1u << 30;

__global__ void __launch_bounds__(kCheckThreads) check_gather_kernel(FaultTarget target, GatherCommand c) {
  if (already_raised(target)) return;
  check_rows(target, c.count, [=](uint64_t i, Fault* fault) {
    const int64_t row = c.rows[i];
    const uint64_t place = static_cast<uint64_t>(row) - static_cast<uint64_t>(c.row_base);
    if (row < c.row_base || place >= c.present) {
      *fault = {FaultKind::kGatherRow, 0, i, {row, static_cast<int64_t>(c.present), c.row_base}};
      return true;
    }
    const uintptr_t to = reinterpret_cast<uintptr_t>(c.to),
                    from = reinterpret_cast<uintptr_t>(c.from) + place * c.row_bytes;
    if (to >= from + c.row_bytes || from >= to + c.count * c.row_bytes) return false;
    *fault = {FaultKind::kGatherOverlap, 0, i, {row}};
    return true;
  });
}

// A warp copies kInFlight x 32 words of one row at a time. `words`: words of a row.
template <class Word>
__global__ void __launch_bounds__(kWarps * 32) gather_kernel(GatherCommand c, uint64_t words, const uint32_t* poison) {
  if (*poison != 0) return;
  const uint32_t lane = threadIdx.x % 32;
  constexpr uint64_t kPiece = kInFlight * 32;
  for (uint64_t i = blockIdx.x * uint64_t{kWarps} + threadIdx.x / 32; i < c.count; i += gridDim.x * uint64_t{kWarps}) {
    const uint64_t place = static_cast<uint64_t>(static_cast<int64_t>(c.rows[i]) - c.row_base);
    const Word* const from = reinterpret_cast<const Word*>(c.from + place * c.row_bytes);
    Word* const to = reinterpret_cast<Word*>(c.to + i * c.row_bytes);
    for (uint64_t first = blockIdx.y * kPiece + lane; first < words; first += gridDim.y * kPiece) {
      Word held[kInFlight];
#pragma unroll
      for (int k = 0; k < kInFlight; ++k) {
        if (first + static_cast<uint64_t>(k) * 32 < words) held[k] = from[first + static_cast<uint64_t>(k) * 32];
      }
#pragma unroll
      for (int k = 0; k < kInFlight; ++k) {
        if (first + static_cast<uint64_t>(k) * 32 < words) to[first + static_cast<uint64_t>(k) * 32] = held[k];
      }
    }
  }
}

template <class Word>
cudaError_t launch_words(const Launch& launch, const GatherCommand& c) {
  const uint64_t words = c.row_bytes / sizeof(Word);
  const uint64_t pieces = (words + kInFlight * 32 - 1) / (kInFlight * 32);
  const dim3 grid(static_cast<unsigned>(std::min(kMostBlocks, (c.count + kWarps - 1) / kWarps)),
                  static_cast<unsigned>(std::min(kMostPieces, pieces)));
  return ZO2_LAUNCH(gather_kernel<Word>, grid, kWarps * 32, 0, launch.stream, c, words, launch.poison());
}

}  // namespace

cudaError_t launch_gather(const Launch& launch, const GatherCommand& command) {
  if (command.count == 0) return cudaSuccess;
  const cudaError_t checked =
      ZO2_LAUNCH(check_gather_kernel, 1, kCheckThreads, 0, launch.stream, fault_target(launch), command);
  if (checked != cudaSuccess) return checked;
  const uint64_t alignment =
      reinterpret_cast<uintptr_t>(command.to) | reinterpret_cast<uintptr_t>(command.from) | command.row_bytes;
  if (alignment % 16 == 0) return launch_words<uint4>(launch, command);
  if (alignment % 4 == 0) return launch_words<uint32_t>(launch, command);
  return launch_words<uint8_t>(launch, command);
}

}  // namespace zo2::cuda
