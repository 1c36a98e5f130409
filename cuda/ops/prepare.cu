#include "cuda/ops/prepare.cuh"

#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/ops/check.cuh"
#include "cuda/ops/prepare_group.cuh"

namespace zo2::cuda {
namespace {

using namespace groups;
using contract::PendingUpdate;

constexpr int kThreads = 256;
constexpr int kPasses = 4;
// Of a multiprocessor: the noise keeps it busy with arithmetic, so its schedulers want six warps each more than the
// last few registers.
constexpr int kResidentBlocks = 3;
constexpr uint64_t kBlockGroups = kThreads * kPasses;
constexpr int kMaxDirections = static_cast<int>(contract::kMaxDirections);
static_assert(kThreads == static_cast<int>(kInlineUpdates) * kMaxDirections,
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

// Which part of which segment a block has.
struct Place {
  zo2_segment segment;
  uint64_t first_group;
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

ZO2_HD inline bool is_gathered(const zo2_segment& s) { return (s.flags & ZO2_SEGMENT_GATHERED) != 0; }

// Groups that a row of a gathered segment, wherever it begins in the canonical order, lies in at most.
ZO2_HD inline uint64_t groups_of_row(const zo2_segment& s) {
  const bool aligned = s.canonical % kGroup == 0 && s.row_width % kGroup == 0;
  return aligned ? s.row_width / kGroup : (s.row_width + 2 * kGroup - 2) / kGroup;
}

ZO2_HD inline uint64_t groups_of(const zo2_segment& s, uint64_t row_count) {
  if (is_gathered(s)) return row_count * groups_of_row(s);
  return s.count == 0 ? 0 : (s.canonical % kGroup + s.count + kGroup - 1) / kGroup;
}

ZO2_HD inline uint64_t blocks_of(const zo2_segment& s, uint64_t row_count) {
  return (groups_of(s, row_count) + kBlockGroups - 1) / kBlockGroups;
}

// Finds the segment of this block by adding up the blocks of those before it, 32 at a time: units have few segments,
// and a table of sums would have to be sent anew whenever the number of gathered rows changes. Called by warp 0.
__device__ inline void locate(const Job& job, Place* place) {
  const uint64_t block = blockIdx.x;
  uint64_t before = 0;
  for (uint64_t first = 0; first < job.segment_count; first += 32) {
    const uint64_t index = first + threadIdx.x;
    const uint64_t mine = index < job.segment_count ? blocks_of(job.segments[index], job.row_count) : 0;
    uint64_t sum = mine;
    for (unsigned distance = 1; distance < 32; distance *= 2) {
      const uint64_t below = __shfl_up_sync(0xffffffffu, static_cast<unsigned long long>(sum), distance);
      if (threadIdx.x >= distance) sum += below;
    }
    const uint64_t begin = before + sum - mine;
    if (block >= begin && block < begin + mine) *place = {job.segments[index], (block - begin) * kBlockGroups};
    before += __shfl_sync(0xffffffffu, static_cast<unsigned long long>(sum), 31);
    if (block < before) break;
  }
}

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

// False when a new weight does not fit the wire dtype.
__device__ inline bool apply_update(const Job& job, const Batch& batch, uint32_t k, const zo2_segment& s,
                                    const Group& group, float (&w)[kGroup]) {
  const PendingUpdate& update = batch.updates[k];
  const float b = (s.flags & ZO2_SEGMENT_DECAY) != 0 ? batch.b[k] : 0.0f;
  float u[kGroup], z[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; ++i) u[i] = numerics::update_begin(b, w[i]);
  for (uint32_t d = 0; d < update.directions; ++d) {
    const float* const table = update.z == nullptr ? nullptr : update.z + d * (update.z_stride / sizeof(float));
    noise_group(update.noise, update.seed, update.step, d, table, group, z);
    const float a = batch.a[k][d];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) u[i] = numerics::update_add(a, z[i], u[i]);
  }
  return replace_group(s.wire_dtype, stochastic(job), update.seed, update.step, group, u, w);
}

__device__ inline void write_sides(const Job& job, const zo2_segment& s, const Group& group, const float (&w)[kGroup]) {
  const bool plain = (s.flags & ZO2_SEGMENT_FROZEN) != 0 || !job.draws;
  float z[kGroup], x[kGroup];
  if (!plain) noise_group(job.noise, job.seed, job.step, job.direction, job.z, group, z);
#pragma unroll
  for (uint32_t side = 0; side < contract::kMaxSides; ++side) {
    if (side >= job.side_count) return;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) x[i] = plain ? w[i] : numerics::perturb(job.sides[side].eps, z[i], w[i]);
    store_group(s.scratch_dtype, job.sides[side].scratch + s.scratch_offset, group, x);
  }
}

__global__ void __launch_bounds__(kThreads, kResidentBlocks)
    prepare_kernel(const __grid_constant__ Job job, const uint32_t* poison) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(BlockState, state);
  if (threadIdx.x < 32) locate(job, &state.place);
  stage(job, 0, &state.batch);
  __syncthreads();

  const zo2_segment& s = state.place.segment;
  const uint32_t update_count = (s.flags & ZO2_SEGMENT_FROZEN) != 0 ? 0 : job.update_count;
  uint32_t overflowed = UINT32_MAX;
  for (int pass = 0; pass < kPasses; ++pass) {
    const uint64_t index = state.place.first_group + static_cast<uint64_t>(pass) * kThreads + threadIdx.x;
    const Group group = group_at(job, s, index);
    float w[kGroup];
    if (group.exists()) load_group(s.wire_dtype, job.wire + s.wire_offset, group, w);
    for (uint32_t first = 0; first < update_count; first += kInlineUpdates) {
      if (update_count > kInlineUpdates) {
        __syncthreads();
        stage(job, first, &state.batch);
        __syncthreads();
      }
      if (!group.exists()) continue;
      for (uint32_t k = 0; k < kInlineUpdates && first + k < update_count; ++k) {
        if (!apply_update(job, state.batch, k, s, group, w) && first + k < overflowed) overflowed = first + k;
      }
    }
    if (!group.exists()) continue;
    if (job.store && update_count > 0) store_group(s.wire_dtype, job.wire + s.wire_offset, group, w);
    if (job.side_count != 0) write_sides(job, s, group, w);
  }
  if (overflowed == UINT32_MAX) return;
  atomicOr(&job.tally->flags, static_cast<uint32_t>(ZO2_STICKY_OVERFLOW));
  atomicMax(&job.tally->urgency, UINT32_MAX - overflowed);
}

// Raises the sticky flags with the step of the first update that went wrong, and leaves the tally zero. One warp.
__global__ void __launch_bounds__(32) fold_sticky_kernel(const __grid_constant__ Job job, const uint32_t* poison) {
  if (*poison != 0) return;
  uint32_t flags = job.tally->flags, first = UINT32_MAX - job.tally->urgency;
  __syncwarp();
  for (uint32_t index = 0; index < job.update_count; ++index) {
    const PendingUpdate& update = job.update(index);
    bool finite = true;
    for (uint32_t d = threadIdx.x; d < update.directions; d += 32)
      finite = finite && numerics::f32_is_finite(update.coefficients[d].value);
    if (__all_sync(0xffffffffu, finite ? 1 : 0) != 0) continue;
    flags |= ZO2_STICKY_NOT_FINITE;
    if (index < first) first = index;
  }
  if (threadIdx.x != 0 || flags == 0) return;
  *job.tally = {0, 0};
  if (job.sticky->flags == 0) job.sticky->step = job.update(first).step;
  job.sticky->flags |= flags;
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

}  // namespace

cudaError_t launch_prepare(const Launch& launch, const contract::PrepareCommand& command,
                           const PrepareResources& resources) {
  if (command.layout->gathered()) {
    const cudaError_t checked = launch_check_prepare_rows(launch, command.rows, command.row_count, row_end(command));
    if (checked != cudaSuccess) return checked;
  }
  const Job job = make_job(command, resources);
  uint64_t blocks = 0;
  for (const zo2_segment& s : command.layout->segments()) blocks += blocks_of(s, command.row_count);
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (blocks != 0) {
    const cudaError_t prepared =
        ZO2_LAUNCH(prepare_kernel, static_cast<unsigned>(blocks), kThreads, 0, launch.stream, job, launch.poison());
    if (prepared != cudaSuccess) return prepared;
  }
  if (job.update_count == 0) return cudaSuccess;
  return ZO2_LAUNCH(fold_sticky_kernel, 1, 32, 0, launch.stream, job, launch.poison());
}

}  // namespace zo2::cuda
