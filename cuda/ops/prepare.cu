#include "cuda/ops/prepare.cuh"

#include <algorithm>
#include <type_traits>

#include "cuda/kernel.h"
#include "cuda/ops/check.cuh"
#include "cuda/ops/prepare_blocks.cuh"
#include "cuda/ops/prepare_group.cuh"
#include "cuda/ops/prepare_low_rank.cuh"
#include "cuda/ops/prepare_place.cuh"
#include "cuda/ops/prepare_uniform.cuh"
#include "cuda/ops/sticky.cuh"

namespace zo2::cuda {
namespace {

using namespace groups;
using contract::PendingUpdate;

// What a kernel has code for besides plain elements and noise of one element: others need fewer registers without.
enum Needs : uint32_t { kNone = 0, kBlocks = 1, kLowRank = 2 };

// Of a multiprocessor, as many as the registers allow without spilling.
template <uint32_t kNeeds>
constexpr int kResidentBlocks = kNeeds == kNone ? 3 : 2;
constexpr int kMaxDirections = static_cast<int>(contract::kMaxDirections);
static_assert(kPrepareThreads == static_cast<int>(kInlineUpdates) * kMaxDirections,
              "one thread computes the coefficient of one update and direction");

// A prepare as the kernels see it.
struct Job : contract::PreparePass {
  const zo2_segment* segments;
  uint64_t segment_count;
  PrepareTally* tally;
  uint32_t update_count;
  const PendingUpdate* updates;  // null: they are in `inlined`
  PendingUpdate inlined[kInlineUpdates];

  __device__ const PendingUpdate& update(uint32_t index) const {
    return updates == nullptr ? inlined[index] : updates[index];
  }
};

// The updates that the threads of a block apply next, with their coefficients.
struct Batch {
  PendingUpdate updates[kInlineUpdates];
  float a[kInlineUpdates][kMaxDirections];
  float b[kInlineUpdates];
};

struct BlockState {
  Place place;
  Batch batch;
};

__device__ inline bool stochastic(const Job& job) { return job.rounding == ZO2_ROUND_STOCHASTIC; }

// Coefficients of updates first .. first + 3, in fp64 rounded once. One thread for each update and direction.
__device__ inline void stage(const Job& job, uint32_t first, Batch* batch) {
  const uint32_t k = threadIdx.x / kMaxDirections, d = threadIdx.x % kMaxDirections;
  if (first + k >= job.update_count) return;
  const PendingUpdate& update = job.update(first + k);
  if (d == 0) {
    batch->updates[k] = update;
    batch->b[k] = numerics::decay_coefficient(update.learning_rate, update.weight_decay);
  }
  if (d >= update.directions) return;
  bool finite = true;
  for (uint32_t e = 0; e < update.directions; ++e)
    finite = finite && numerics::f32_is_finite(update.coefficients[e].value);
  batch->a[k][d] = numerics::update_coefficient(update.learning_rate, finite ? update.coefficients[d].value : 0.0f,
                                                update.directions);
}

// Group number `index` of a segment; empty past its end.
__device__ inline Group group_at(const Job& job, const zo2_segment& s, uint64_t index) {
  uint64_t start = s.canonical, width = s.count, element = 0, inside = index;
  if (is_gathered(s)) {
    const uint64_t per_row = groups_of_row(s), row = index / per_row;
    if (row >= job.row_count) return {0, 0, 0, 0};
    inside = index - row * per_row;
    start += static_cast<uint64_t>(job.rows[row]) * s.row_width;
    width = s.row_width;
    element = row * s.row_width;
  }
  const uint64_t skew = start % kGroup, offset = inside * kGroup;
  Group group;
  group.canonical = start - skew + offset;
  group.element = static_cast<int64_t>(element + offset) - static_cast<int64_t>(skew);
  group.begin = inside == 0 ? static_cast<int>(skew) : 0;
  const int64_t left = static_cast<int64_t>(skew + width) - static_cast<int64_t>(offset);
  group.end = static_cast<int>(left < 0 ? 0 : left < kGroup ? left : kGroup);
  return group;
}

// Noise of a group along one direction, of a pass or an update. `table` is that of BUFFER noise. kAnywhere: the group
// may begin anywhere in the canonical order.
template <bool kAnywhere, uint32_t kNeeds, class Drawn>
__device__ inline void draw(const Drawn& drawn, uint32_t direction, const float* table, const zo2_segment& s,
                            const Group& group, float (&z)[kGroup]) {
  zo2_noise_kind kind = drawn.noise;
  if constexpr ((kNeeds & kLowRank) != 0) {
    if (kind == ZO2_NOISE_LOW_RANK) {
      if (s.row_width != 0) {
        return low_rank_group({drawn.seed, drawn.step, drawn.column_step, direction, drawn.rank}, s, group, z);
      }
      kind = ZO2_NOISE_GAUSSIAN;
    }
  }
  if constexpr (kAnywhere) {
    noise_octet(kind, drawn.seed, drawn.step, direction, table, group, z);
  } else {
    noise_group(kind, drawn.seed, drawn.step, direction, table, group, z);
  }
}

// By how much update `k` of the batch changes the weights.
template <bool kAnywhere, uint32_t kNeeds>
__device__ inline void change(const Batch& batch, uint32_t k, const zo2_segment& s, const Group& group,
                              const float (&w)[kGroup], float (&u)[kGroup]) {
  const PendingUpdate& update = batch.updates[k];
  const float b = (s.flags & ZO2_SEGMENT_DECAY) != 0 ? batch.b[k] : 0.0f;
  float z[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; ++i) u[i] = numerics::update_begin(b, w[i]);
  for (uint32_t d = 0; d < update.directions; ++d) {
    const float* const table = update.z == nullptr ? nullptr : update.z + d * (update.z_stride / sizeof(float));
    draw<kAnywhere, kNeeds>(update, d, table, s, group, z);
    const float a = batch.a[k][d];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) u[i] = numerics::update_add(a, z[i], u[i]);
  }
}

template <bool kAnywhere, uint32_t kNeeds>
__device__ inline void write_sides(const Job& job, const zo2_segment& s, const Group& group, const float (&w)[kGroup]) {
  const bool plain = (s.flags & ZO2_SEGMENT_FROZEN) != 0 || !job.draws;
  float z[kGroup], x[kGroup];
  if (!plain) draw<kAnywhere, kNeeds>(job, job.direction, job.z, s, group, z);
#pragma unroll
  for (uint32_t side = 0; side < contract::kMaxSides; ++side) {
    if (side >= job.side_count) return;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) x[i] = plain ? w[i] : perturb_any(job.sides[side].eps, z[i], w[i]);
    store_group(s.scratch_dtype, job.sides[side].scratch + s.scratch_offset, group, x);
  }
}

// Raises the sticky flags with the step of the first update that went wrong, and leaves the tally zero. One warp, once
// every block has told what it knows.
__device__ inline void fold(const Job& job) {
  uint32_t flags = 0, first = UINT32_MAX;
  if (threadIdx.x == 0) {
    __threadfence();
    flags = atomicExch(&job.tally->flags, 0u);
    first = UINT32_MAX - atomicExch(&job.tally->urgency, 0u);
    atomicExch(&job.tally->blocks, 0u);
  }
  for (uint32_t index = 0; index < job.update_count; ++index) {
    const PendingUpdate& update = job.update(index);
    bool finite = true;
    for (uint32_t d = threadIdx.x; d < update.directions; d += 32)
      finite = finite && numerics::f32_is_finite(update.coefficients[d].value);
    if (__all_sync(0xffffffffu, finite ? 1 : 0) != 0) continue;
    flags |= ZO2_STICKY_NOT_FINITE;
    if (index < first) first = index;
  }
  if (threadIdx.x == 0 && flags != 0) raise_sticky(job.sticky, flags, job.update(first).step);
}

// `overflowed`: the first update at which a weight of this thread left its dtype, or UINT32_MAX. The last block folds
// what all have told.
__device__ inline void finish(const Job& job, uint32_t overflowed) {
  if (overflowed != UINT32_MAX) {
    atomicOr(&job.tally->flags, static_cast<uint32_t>(ZO2_STICKY_OVERFLOW));
    atomicMax(&job.tally->urgency, UINT32_MAX - overflowed);
    __threadfence();
  }
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const uint32_t before = threadIdx.x == 0 ? atomicAdd(&job.tally->blocks, 1u) : 0;
  if (__shfl_sync(0xffffffffu, before, 0) == gridDim.x - 1) fold(job);
}

// A thread's part of a segment in the registers of one pass over it: of plain elements, or of blocks with scales.
// `index` counts groups.
struct PlainPart {
  static constexpr bool kAnywhere = false;
  Group group;
  float w[kGroup];

  __device__ PlainPart(const Job& job, const zo2_segment& s, uint64_t index) : group(group_at(job, s, index)) {
    if (exists()) load_group(s.wire_dtype, job.wire + s.wire_offset, group, w);
  }
  __device__ bool exists() const { return group.exists(); }
  __device__ const Group& place() const { return group; }
  __device__ bool replace(const Job& job, const zo2_segment& s, const PendingUpdate& update, const float (&u)[kGroup]) {
    return replace_group(s.wire_dtype, stochastic(job), update.seed, update.step, group, u, w);
  }
  __device__ void store(const Job& job, const zo2_segment& s) const {
    store_group(s.wire_dtype, job.wire + s.wire_offset, group, w);
  }
};

template <class Format>
struct BlockPart {
  static constexpr bool kAnywhere = true;
  BlockOctet octet;
  float w[kGroup];
  BlockBytes bytes;

  __device__ BlockPart(const Job& job, const zo2_segment& s, uint64_t index)
      : octet(block_octet(s, job.rows, job.row_count, index)) {
    if (exists()) load_blocks<Format>(job.wire + s.wire_offset, job.wire + s.scale_offset, octet, w);
  }
  __device__ bool exists() const { return octet.exists; }
  __device__ const Group& place() const { return octet.group; }
  __device__ bool replace(const Job& job, const zo2_segment&, const PendingUpdate& update, const float (&u)[kGroup]) {
    return replace_blocks<Format>(stochastic(job), update.seed, update.step, octet, u, w, bytes);
  }
  __device__ void store(const Job& job, const zo2_segment& s) const {
    store_blocks(job.wire + s.wire_offset, job.wire + s.scale_offset, octet, bytes);
  }
};

// This block's part of its segment. The first update at which a weight of this thread left its dtype, or UINT32_MAX.
template <class Part, uint32_t kNeeds>
__device__ inline uint32_t prepare_parts(const Job& job, BlockState& state) {
  const zo2_segment& s = state.place.segment;
  const uint32_t update_count = (s.flags & ZO2_SEGMENT_FROZEN) != 0 ? 0 : job.update_count;
  uint32_t overflowed = UINT32_MAX;
  for (int pass = 0; pass < kPreparePasses; ++pass) {
    const uint64_t index = state.place.first_group + static_cast<uint64_t>(pass) * kPrepareThreads + threadIdx.x;
    Part part(job, s, index);
    for (uint32_t first = 0; first < update_count; first += kInlineUpdates) {
      if (update_count > kInlineUpdates) {
        __syncthreads();
        stage(job, first, &state.batch);
        __syncthreads();
      }
      if (!part.exists()) continue;
      for (uint32_t k = 0; k < kInlineUpdates && first + k < update_count; ++k) {
        float u[kGroup];
        change<Part::kAnywhere, kNeeds>(state.batch, k, s, part.place(), part.w, u);
        if (!part.replace(job, s, state.batch.updates[k], u) && first + k < overflowed) overflowed = first + k;
      }
    }
    if (!part.exists()) continue;
    if (job.store && update_count > 0) part.store(job, s);
    if (job.side_count != 0) write_sides<Part::kAnywhere, kNeeds>(job, s, part.place(), part.w);
  }
  return overflowed;
}

template <uint32_t kNeeds>
__global__ void __launch_bounds__(kPrepareThreads, kResidentBlocks<kNeeds>)
    prepare_kernel(const __grid_constant__ Job job, const uint32_t* poison) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(BlockState, state);
  if (threadIdx.x < 32) locate(job.segments, job.segment_count, job.row_count, &state.place);
  stage(job, 0, &state.batch);
  __syncthreads();

  uint32_t overflowed;
  constexpr bool kBlocked = (kNeeds & kBlocks) != 0;
  if (kBlocked && state.place.segment.wire_dtype == ZO2_I8) {
    overflowed = prepare_parts<BlockPart<numerics::Int8>, kNeeds>(job, state);
  } else if (kBlocked && state.place.segment.wire_dtype == ZO2_E4M3) {
    overflowed = prepare_parts<BlockPart<numerics::E4m3>, kNeeds>(job, state);
  } else {
    overflowed = prepare_parts<PlainPart, kNeeds>(job, state);
  }
  if (job.update_count != 0) finish(job, overflowed);
}

// How many row numbers every gathered segment that draws noise can serve.
uint64_t row_end(const contract::PrepareCommand& command) {
  uint64_t end = UINT64_MAX;
  for (const zo2_segment& s : command.layout->segments()) {
    if (!is_gathered(s) || (s.flags & ZO2_SEGMENT_FROZEN) != 0) continue;
    const uint64_t elements = command.noise_elements > s.canonical ? command.noise_elements - s.canonical : 0;
    end = std::min(end, elements / s.row_width);
  }
  return end;
}

Job make_job(const contract::PrepareCommand& command, const PrepareResources& resources) {
  Job job{};
  static_cast<contract::PreparePass&>(job) = command;
  job.segments = resources.segments;
  job.segment_count = command.layout->segments().size();
  job.tally = resources.tally;
  job.update_count = static_cast<uint32_t>(command.updates.size());
  if (job.update_count > kInlineUpdates) {
    job.updates = resources.updates;
  } else {
    std::copy(command.updates.begin(), command.updates.end(), job.inlined);
  }
  return job;
}

bool draws_low_rank(const contract::PrepareCommand& command) {
  if (command.draws && command.noise == ZO2_NOISE_LOW_RANK) return true;
  return std::any_of(command.updates.begin(), command.updates.end(),
                     [](const PendingUpdate& update) { return update.noise == ZO2_NOISE_LOW_RANK; });
}

// Calls f with what the command needs as a type.
template <class F>
cudaError_t with_needs(const contract::PrepareCommand& command, F&& f) {
  const bool blocked = command.layout->blocked();
  if (draws_low_rank(command)) {
    return blocked ? f(std::integral_constant<uint32_t, kBlocks | kLowRank>{})
                   : f(std::integral_constant<uint32_t, kLowRank>{});
  }
  return blocked ? f(std::integral_constant<uint32_t, kBlocks>{}) : f(std::integral_constant<uint32_t, kNone>{});
}

}  // namespace

cudaError_t launch_prepare(const Launch& launch, const contract::PrepareCommand& command,
                           const PrepareResources& resources) {
  if (command.layout->gathered()) {
    const cudaError_t checked = launch_check_prepare_rows(launch, command.rows, command.row_count, row_end(command));
    if (checked != cudaSuccess) return checked;
  }
  uint64_t blocks = 0;
  for (const zo2_segment& s : command.layout->segments()) blocks += blocks_of(s, command.row_count);
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (is_uniform_prepare(command))
    return launch_uniform_prepare(launch, command, resources.segments, static_cast<unsigned>(blocks));
  if (blocks == 0 && command.updates.empty()) return cudaSuccess;
  // Without an element, one block looks at the coefficients.
  const Job job = make_job(command, resources);
  const unsigned grid = std::max(1u, static_cast<unsigned>(blocks));
  return with_needs(command, [&](auto needs) {
    return ZO2_LAUNCH((prepare_kernel<needs()>), grid, kPrepareThreads, 0, launch.stream, job, launch.poison());
  });
}

}  // namespace zo2::cuda
