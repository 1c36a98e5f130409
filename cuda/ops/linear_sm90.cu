// One block per multiprocessor walks over output tiles. Warpgroup 0 loads: one of its threads fills a ring of slots,
// each a 64-column piece of a tile of x and of weight, through the copy engine. Two warpgroups compute 64 rows of the
// tile each. A slot's `full` barrier counts the bytes that landed, its `empty` barrier the consumer warps that have
// read it. While the consumers store one tile the ring fills for the next.
#include "cuda/ops/linear_sm90.cuh"

#include <algorithm>

#include "cuda/instructions/mbarrier.h"
#include "cuda/instructions/tma.h"
#include "cuda/instructions/wgmma.h"
#include "cuda/kernel.h"
#include "cuda/ops/epilogue.cuh"
#include "cuda/ops/linear_sm90_store.cuh"
#include "cuda/ops/tile_grid.cuh"

namespace zo2::cuda {
namespace {

constexpr int kWarpgroup = 128;  // threads
constexpr int kConsumers = 2;    // warpgroups
constexpr int kConsumerWarps = kConsumers * 4;
constexpr int kThreads = kWarpgroup * (1 + kConsumers);

// One wgmma has 64 rows and 16 of K; 64 columns of a slot are the 128 bytes of the swizzle.
constexpr int kWarpgroupRows = 64;
constexpr int kTileM = kConsumers * kWarpgroupRows;
constexpr int kTileK = 64;
[[maybe_unused]] constexpr int kStepK = 16;

constexpr int kStagedRows = 16;
[[maybe_unused]] constexpr int kStagedCols = 32;
constexpr int kStagedPitch = 40;

// Registers per thread once the roles part; the block was launched with 168 for each of its threads.
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
static_assert(kWarpgroup * (kProducerRegisters + kConsumers * kConsumerRegisters) <= kThreads * 168);

template <int kTileN>
struct Ring {
  // 192 KiB of slots either way.
  static constexpr int kSlots = kTileN == 256 ? 4 : 6;

  // wgmma and the copy engine address the 128-byte swizzle from multiples of 1,024 bytes.
  alignas(1024) uint16_t x[kSlots][kTileM * kTileK];
  alignas(1024) uint16_t weight[kSlots][kTileN * kTileK];
  // Sums of one warp at a time on their way to finish_tile. The pitch lets a half-warp store its pairs into 32
  // different banks.
  alignas(16) float staged[kConsumerWarps][kStagedRows * kStagedPitch];
};

// The type of an element whose products wgmma names T.
template <typename T>
struct StorageOf;
template <>
struct StorageOf<F16> {
  using Type = __half;
};
template <>
struct StorageOf<BF16> {
  using Type = __nv_bfloat16;
};
template <typename T>
using Storage = typename StorageOf<T>::Type;

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

// A warp's 16 rows of the tile, 32 columns at a time, through shared memory.
template <int kCount>
__device__ void store_staged(const LinearArgs& args, int64_t row, int64_t column, const float (&sums)[kCount],
                             float* staged, int lane) {
  float* const mine = staged + lane / 4 * kStagedPitch + lane % 4 * 2;
#pragma unroll
  for (int first = 0; first < kCount * 2; first += kStagedCols) {
#pragma unroll
    for (int j = 0; j < kStagedCols / 8; ++j) {
      const float* const four = sums + (first / 8 + j) * 4;
      *reinterpret_cast<float2*>(mine + j * 8) = make_float2(four[0], four[1]);
      *reinterpret_cast<float2*>(mine + 8 * kStagedPitch + j * 8) = make_float2(four[2], four[3]);
    }
    __syncwarp();
    finish_tile(args, row, column + first, kStagedRows, kStagedCols, staged, kStagedPitch, lane, 32);
    __syncwarp();
  }
}

template <typename T, int kTileN>
__global__ void __launch_bounds__(kThreads, 1)
    linear_sm90_kernel(const uint32_t* poison, const __grid_constant__ CUtensorMap x_map,
                       const __grid_constant__ CUtensorMap weight_map, TileGrid grid, int steps,
                       const __grid_constant__ LinearArgs args, bool direct) {
#if ZO2_SM90A
  if (*poison != 0) return;
  using Slots = Ring<kTileN>;
  ZO2_SHARED_DYNAMIC(Slots, ring);
  // Static, so that cudaFuncGetAttributes shows whether this image has the body (see body_exists).
  ZO2_SHARED_STATIC(Barriers<kTileN>, barriers);

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
      for (int64_t index = blockIdx.x; index < grid.count(); index += gridDim.x) {
        const Tile tile = grid.at(index);
        for (int step = 0; step < steps; ++step, at.next()) {
          // In the first round the slots are free: the phase before a barrier's first one counts as complete.
          mbarrier_wait(&barriers.empty[at.slot], at.parity ^ 1);
          mbarrier_arrive_expect_tx(&barriers.full[at.slot], sizeof(ring->x[0]) + sizeof(ring->weight[0]));
          tma_load_2d(ring->x[at.slot], &x_map, &barriers.full[at.slot], static_cast<int>(tile.m * kTileM),
                      step * kTileK);
          tma_load_2d(ring->weight[at.slot], &weight_map, &barriers.full[at.slot], static_cast<int>(tile.n * kTileN),
                      step * kTileK);
        }
      }
    }
  } else {
    registers_take<kConsumerRegisters>();
    const int consumer = warpgroup - 1;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
    for (int64_t index = blockIdx.x; index < grid.count(); index += gridDim.x) {
      float sums[kTileN / 2];
#pragma unroll
      for (float& sum : sums) sum = 0.0f;

      int previous = 0;
      for (int step = 0; step < steps; ++step, at.next()) {
        mbarrier_wait(&barriers.full[at.slot], at.parity);
        const uint64_t x = wgmma_descriptor(ring->x[at.slot] + consumer * kWarpgroupRows * kTileK);
        const uint64_t weight = wgmma_descriptor(ring->weight[at.slot]);
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

      const Tile tile = grid.at(index);
      const int64_t row = tile.m * kTileM + (consumer * 4 + warp) * kStagedRows;
      const int64_t column = tile.n * kTileN;
      if (!direct) {
        store_staged(args, row, column, sums, ring->staged[consumer * 4 + warp], lane);
      } else if (args.out.dtype == ZO2_F32) {
        store_fragments<float>(args, row + lane / 4, column + lane % 4 * 2, sums);
      } else {
        store_fragments<Storage<T>>(args, row + lane / 4, column + lane % 4 * 2, sums);
      }
    }
  }
#endif
}

// Whether the image that this device runs was built for sm_90a: one built for another architecture, or from PTX for an
// older one, has an empty body, without the barriers.
bool body_exists() {
#if ZO2_EMULATED
  return true;
#else
  static const bool exists = [] {
    cudaFuncAttributes attributes{};
    const cudaError_t status = cudaFuncGetAttributes(&attributes, linear_sm90_kernel<BF16, 256>);
    if (status != cudaSuccess) (void)cudaGetLastError();
    return status == cudaSuccess && attributes.ptxVersion >= 90 && attributes.sharedSizeBytes >= sizeof(Barriers<256>);
  }();
  return exists;
#endif
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

TileGrid tiles_of(const LinearArgs& args, int tile_n) {
  return {ceil_div(args.x.rows, kTileM), ceil_div(args.weight.rows, tile_n)};
}

bool reached_by_tma(const Matrix& matrix) {
  const int64_t limit = int64_t{1} << 31;
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0 && matrix.rows >= 1 &&
         matrix.cols >= 1 && matrix.rows <= limit - kTileM * 2 && matrix.cols <= limit - kTileK;
}

template <typename T, int kTileN>
cudaError_t launch(const Launch& launch, const LinearArgs& args) {
  const TmaElement element = args.x.dtype == ZO2_F16 ? TmaElement::kF16 : TmaElement::kBF16;
  CUtensorMap x;
  CUtensorMap weight;
  cudaError_t status = tma_describe(&x, element, args.x.data, args.x.rows, args.x.cols, args.x.stride, kTileM);
  if (status != cudaSuccess) return status;
  status =
      tma_describe(&weight, element, args.weight.data, args.weight.rows, args.weight.cols, args.weight.stride, kTileN);
  if (status != cudaSuccess) return status;

  const TileGrid grid = tiles_of(args, kTileN);
  const int steps = static_cast<int>(ceil_div(args.x.cols, kTileK));
  const bool direct = (args.out.dtype == ZO2_F32 || args.out.dtype == args.x.dtype) && fragments_suffice(args);
  const int64_t blocks = std::min<int64_t>(grid.count(), launch.traits->multiprocessors);
  return ZO2_LAUNCH((linear_sm90_kernel<T, kTileN>), dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                    sizeof(Ring<kTileN>), launch.stream, launch.poison(), x, weight, grid, steps, args, direct);
}

// The wider tile moves fewer bytes per product, and costs a little more than twice the narrow one less often than it
// leaves a last round of tiles that does not fill the device.
bool prefer_wide(const LinearArgs& args, int64_t multiprocessors) {
  if (args.weight.rows <= 128) return false;
  const int64_t wide_rounds = ceil_div(tiles_of(args, 256).count(), multiprocessors);
  const int64_t narrow_rounds = ceil_div(tiles_of(args, 128).count(), multiprocessors);
  return wide_rounds * 20 <= narrow_rounds * 11;
}

template <typename T>
cudaError_t launch_typed(const Launch& at, const LinearArgs& args) {
  return prefer_wide(args, at.traits->multiprocessors) ? launch<T, 256>(at, args) : launch<T, 128>(at, args);
}

}  // namespace

bool linear_sm90_accepts(const Launch& launch, const LinearArgs& args) {
  const bool sixteen_bits = args.x.dtype == ZO2_F16 || args.x.dtype == ZO2_BF16;
  if (launch.traits->capability != 90 || !sixteen_bits || args.weight.dtype != args.x.dtype) return false;
  if (launch.traits->shared_per_block < static_cast<int>(std::max(sizeof(Ring<256>), sizeof(Ring<128>))) + 2048)
    return false;
  if (!reached_by_tma(args.x) || !reached_by_tma(args.weight)) return false;
  // Fewer tiles leave most of the device idle: the twin has smaller ones.
  return tiles_of(args, 128).count() * 2 >= launch.traits->multiprocessors && body_exists();
}

cudaError_t launch_linear_sm90(const Launch& launch, const LinearArgs& args) {
  return args.x.dtype == ZO2_F16 ? launch_typed<F16>(launch, args) : launch_typed<BF16>(launch, args);
}

}  // namespace zo2::cuda
