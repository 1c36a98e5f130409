// Products of tiles on Hopper's own instructions, for kernels that differ in what becomes of the sums: tiles by the
// bulk tensor copy engine (TMA), products by wgmma.
//
// A block walks over tiles. Warpgroup 0 loads: one of its threads fills a ring of slots, each a 64-column piece of a
// tile of x and of weight, through the copy engine. Two warpgroups compute 64 rows of the tile each. A slot's `full`
// barrier counts the bytes that landed, its `empty` barrier the consumer warps that have read it. While the consumers
// finish one tile the ring fills for the next.
#pragma once

#include "cuda/instructions/mbarrier.h"
#include "cuda/instructions/tma.h"
#include "cuda/instructions/wgmma.h"
#include "cuda/launch.h"
#include "cuda/ops/matrix.cuh"
#include "cuda/ops/tile_grid.cuh"

namespace zo2::cuda::sm90 {

constexpr int kWarpgroup = 128;  // threads
constexpr int kConsumers = 2;    // warpgroups
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kThreads = kWarpgroup * (1 + kConsumers);

// One wgmma has 64 rows and 16 of K, 16 rows of them a warp's; 64 columns of a slot are the 128 bytes of the swizzle.
constexpr int kWarpgroupRows = 64;
constexpr int kWarpRows = 16;
constexpr int kTileM = kConsumers * kWarpgroupRows;
constexpr int kTileK = 64;
constexpr int kStepK = 16;

// Registers per thread once the roles part; the block was launched with 168 for each of its threads.
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
static_assert(kWarpgroup * (kProducerRegisters + kConsumers * kConsumerRegisters) <= kThreads * 168);

// In dynamic shared memory.
template <int kTileN>
struct Ring {
  // 192 KiB of slots either way.
  static constexpr int kSlots = kTileN == 256 ? 4 : 6;

  // wgmma and the copy engine address the 128-byte swizzle from multiples of 1,024 bytes.
  alignas(1024) uint16_t x[kSlots][kTileM * kTileK];
  alignas(1024) uint16_t weight[kSlots][kTileN * kTileK];
};

// In static shared memory, so that cudaFuncGetAttributes shows whether an image has the body (see body_exists).
template <int kTileN>
struct Barriers {
  MBarrier full[Ring<kTileN>::kSlots];
  MBarrier empty[Ring<kTileN>::kSlots];
};

// Where a thread is in the ring. `parity` is that of the current round.
template <int kSlots>
struct Position {
  int slot = 0;
  int parity = 0;

  __device__ void next() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

// Number of a consumer warp, 0 to kConsumerWarps - 1: that with the rows kWarpRows * warp .. of a tile. Negative in
// those that load.
__device__ inline int consumer_warp() { return static_cast<int>(threadIdx.x) / 32 - kWarpgroup / 32; }

// All threads of a block of kThreads call this, once. each_tile(visit) calls visit(Tile) for the block's tiles, the
// same in every thread; `steps` is the depth in units of kTileK. For each tile, the consumers' threads call
// finish(tile, sums) with sums[kTileN / 2] of x rows tile.m * kTileM .. and weight rows tile.n * kTileN .., in the
// layout of wgmma.h; a warp does so alone, at any time beside the others. What lies outside the operands counts as 0.
template <typename T, int kTileN, class EachTile, class Finish>
__device__ __forceinline__ void multiply_tiles(Ring<kTileN>& ring, Barriers<kTileN>& barriers, const CUtensorMap& x_map,
                                               const CUtensorMap& weight_map, int steps, const EachTile& each_tile,
                                               const Finish& finish) {
  using Slots = Ring<kTileN>;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Slots::kSlots; ++i) {
      mbarrier_init(&barriers.full[i], 1);
      mbarrier_init(&barriers.empty[i], kConsumerWarps);
    }
    mbarrier_init_fence();
    tma_prefetch(&x_map);
    tma_prefetch(&weight_map);
  }
  __syncthreads();

  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  Position<Slots::kSlots> at;
  if (warpgroup == 0) {
    registers_release<kProducerRegisters>();
    if (threadIdx.x == 0) {
      each_tile([&](const Tile& tile) {
        for (int step = 0; step < steps; ++step, at.next()) {
          // In the first round the slots are free: the phase before a barrier's first one counts as complete.
          mbarrier_wait(&barriers.empty[at.slot], at.parity ^ 1);
          mbarrier_arrive_expect_tx(&barriers.full[at.slot], sizeof(ring.x[0]) + sizeof(ring.weight[0]));
          tma_load_2d(ring.x[at.slot], &x_map, &barriers.full[at.slot], static_cast<int>(tile.m * kTileM),
                      step * kTileK);
          tma_load_2d(ring.weight[at.slot], &weight_map, &barriers.full[at.slot], static_cast<int>(tile.n * kTileN),
                      step * kTileK);
        }
      });
    }
  } else {
    registers_take<kConsumerRegisters>();
    const int consumer = warpgroup - 1;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    each_tile([&](const Tile& tile) {
      float sums[kTileN / 2];
#pragma unroll
      for (float& sum : sums) sum = 0.0f;

      int previous = 0;
      for (int step = 0; step < steps; ++step, at.next()) {
        mbarrier_wait(&barriers.full[at.slot], at.parity);
        const uint64_t x = wgmma_descriptor(ring.x[at.slot] + consumer * kWarpgroupRows * kTileK);
        const uint64_t weight = wgmma_descriptor(ring.weight[at.slot]);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < kTileK / kStepK; ++k) {
          wgmma_m64k16(sums, wgmma_advance(x, k * kStepK * 2), wgmma_advance(weight, k * kStepK * 2), T{});
        }
        wgmma_commit();
        // This step's products run on; those of the step before are done, and their slot is free.
        wgmma_wait<1>();
        if (step > 0 && lane == 0) mbarrier_arrive(&barriers.empty[previous]);
        previous = at.slot;
      }
      wgmma_wait<0>();
      wgmma_pin(sums);
      if (lane == 0) mbarrier_arrive(&barriers.empty[previous]);
      finish(tile, sums);
    });
  }
}

// Whether the image of `kernel` that this device runs was built for sm_90a: one built for another architecture, or from
// PTX for an older one, has an empty body, without its Barriers<kTileN>.
template <auto kernel, int kTileN>
bool body_exists() {
#if ZO2_EMULATED
  return true;
#else
  static const bool exists = [] {
    cudaFuncAttributes attributes{};
    const cudaError_t status = cudaFuncGetAttributes(&attributes, kernel);
    if (status != cudaSuccess) (void)cudaGetLastError();
    return status == cudaSuccess && attributes.ptxVersion >= 90 &&
           attributes.sharedSizeBytes >= sizeof(Barriers<kTileN>);
  }();
  return exists;
#endif
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline bool reached_by_tma(const Matrix& matrix) {
  const int64_t limit = int64_t{1} << 31;
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0 && matrix.rows >= 1 &&
         matrix.cols >= 1 && matrix.rows <= limit - kTileM * 2 && matrix.cols <= limit - kTileK;
}

// Whether a kernel with `shared` bytes of dynamic shared memory may multiply x[M, K] weight[N, K]^T here: a device of
// capability 9.0, one 16-bit dtype, and bases and row strides that are multiples of 16 bytes; M, N and K of at least 1
// and below 2^31. The caller asks body_exists besides.
inline bool multiplies(const Traits& traits, const Matrix& x, const Matrix& weight, size_t shared) {
  const bool sixteen_bits = x.dtype == ZO2_F16 || x.dtype == ZO2_BF16;
  // Beside it lie the barriers, and what CUDA keeps for itself.
  return traits.capability == 90 && sixteen_bits && weight.dtype == x.dtype &&
         traits.shared_per_block >= static_cast<int>(shared) + 2048 && reached_by_tma(x) && reached_by_tma(weight);
}

struct Maps {
  CUtensorMap x, weight;
};

// For operands that `multiplies` takes. cudaErrorInvalidValue: the driver made no tensor map.
inline cudaError_t describe(Maps* maps, const Matrix& x, const Matrix& weight, int tile_n) {
  const TmaElement element = x.dtype == ZO2_F16 ? TmaElement::kF16 : TmaElement::kBF16;
  const cudaError_t status = tma_describe(&maps->x, element, x.data, x.rows, x.cols, x.stride, kTileM);
  if (status != cudaSuccess) return status;
  return tma_describe(&maps->weight, element, weight.data, weight.rows, weight.cols, weight.stride, tile_n);
}

// The depth of a product in the steps of multiply_tiles.
inline int steps_of(const Matrix& x) { return static_cast<int>(ceil_div(x.cols, kTileK)); }

}  // namespace zo2::cuda::sm90
