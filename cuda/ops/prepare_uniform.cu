#include "cuda/ops/prepare_uniform.cuh"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <vector>

#include "cuda/kernel.h"
#include "cuda/ops/prepare_nan.cuh"
#include "cuda/ops/prepare_noise.cuh"
#include "cuda/ops/prepare_octet.cuh"
#include "cuda/ops/prepare_single.cuh"
#include "cuda/ops/sticky.cuh"

namespace zo2::cuda {
namespace {

using contract::PendingUpdate;
using contract::PrepareCommand;

enum class Update { kNone, kNearest, kStochastic };

// Of a multiprocessor: as many as the registers allow without spilling. Each of its schedulers has eight warps or more,
// which keep it busy.
template <zo2_noise_kind kNoise, Update kUpdate>
constexpr int kResidentBlocks = kNoise == ZO2_NOISE_GAUSSIAN && kUpdate != Update::kStochastic ? 5 : 4;

// Noise of eight elements from canonical index `first` on.
template <zo2_noise_kind kNoise>
__device__ inline void draw(const DrawnNoise& noise, uint64_t first, float (&z)[kGroup]) {
  if constexpr (kNoise == ZO2_NOISE_GAUSSIAN) {
    noise::gaussian_quad(noise::philox(noise.keys, noise.step, noise.tag, first >> 2), z);
    noise::gaussian_quad(noise::philox(noise.keys, noise.step, noise.tag, (first >> 2) + 1), z + 4);
  } else {
    const uint32_t signs = noise::eight_signs(noise::philox(noise.keys, noise.step, noise.tag, first >> 7), first);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) z[i] = numerics::rademacher_sign(signs, static_cast<uint32_t>(i));
  }
}

// w - u, rounded to the wire dtype, in `wire` and `w`. The result is NaN if some new weight is not finite, otherwise 0.
template <uint32_t kWire, zo2_noise_kind kNoise, Update kUpdate>
__device__ inline float update_octet(const UniformJob& job, float a, float b, uint64_t first, Octet<kWire>& wire,
                                     float (&w)[kGroup]) {
  float z[kGroup], x[kGroup];
  draw<kNoise>(job.update, first, z);
#pragma unroll
  for (int i = 0; i < kGroup; ++i)
    x[i] = numerics::update_end(w[i], numerics::update_add(a, z[i], numerics::update_begin(b, w[i])));
  float zero = 0.0f;
  if constexpr (kUpdate == Update::kStochastic) {
    zero = add_zeros(x, zero);
    const numerics::PhiloxWords random[2] = {
        noise::philox(job.update.keys, job.update.step, job.rounding_tag, first >> 2),
        noise::philox(job.update.keys, job.update.step, job.rounding_tag, (first >> 2) + 1)};
    wire.narrow_stochastic(x, random);
  } else {
    wire.narrow(x);
  }
  wire.widen(w);
  return zero;
}

struct State {
  Place place;
  float a;
};

// The passes of a thread that have a whole group, and those that have a part of one.
struct Passes {
  int first, end;
  uint32_t partial;  // a bit for each
};

__device__ inline Passes passes_of(const zo2_segment& s, uint64_t group) {
  const uint32_t skew = static_cast<uint32_t>(s.canonical) % kGroup;
  const uint64_t places = skew + s.count, whole_end = places / kGroup;
  const uint64_t ahead = whole_end > group ? whole_end - group : 0;
  const uint64_t whole = (ahead + kPrepareThreads - 1) / kPrepareThreads;
  Passes passes;
  passes.first = group == 0 && skew != 0 ? 1 : 0;
  passes.end = whole < kPreparePasses ? static_cast<int>(whole) : kPreparePasses;
  passes.partial = static_cast<uint32_t>(passes.first);
  if (places % kGroup != 0 && whole_end >= group && ahead % kPrepareThreads == 0 && whole < kPreparePasses)
    passes.partial |= 1u << whole;
  return passes;
}

template <uint32_t kWire, uint32_t kScratch, zo2_noise_kind kNoise, Update kUpdate>
__global__ void __launch_bounds__(kPrepareThreads, kResidentBlocks<kNoise, kUpdate>)
    prepare_uniform_kernel(const __grid_constant__ UniformJob job, const uint32_t* poison) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(State, state);
  if (threadIdx.x < 32) locate(job.segments, job.segment_count, 0, &state.place);
  if (kUpdate != Update::kNone && threadIdx.x == 32) {
    const float g = job.coefficient->value;
    const bool finite = numerics::f32_is_finite(g);
    state.a = numerics::update_coefficient(job.learning_rate, finite ? g : 0.0f, 1);
    if (!finite && blockIdx.x == 0) raise_sticky(job.sticky, ZO2_STICKY_NOT_FINITE, job.update.step);
  }
  __syncthreads();

  const zo2_segment& s = state.place.segment;
  const uint64_t group = state.place.first_group + threadIdx.x;
  const bool frozen = (s.flags & ZO2_SEGMENT_FROZEN) != 0;
  const bool updates = kUpdate != Update::kNone && !frozen, draws = job.draws && !frozen;
  const float a = kUpdate != Update::kNone ? state.a : 0.0f;
  const float b = (s.flags & ZO2_SEGMENT_DECAY) != 0 ? job.b : 0.0f;
  const Passes passes = passes_of(s, group);
  const int64_t element = static_cast<int64_t>(group * kGroup) - static_cast<int64_t>(s.canonical % kGroup);
  unsigned char* const wire_base = job.wire + s.wire_offset + element * kElementBytes<kWire>;
  const uint64_t scratch = s.scratch_offset + static_cast<uint64_t>(element * kElementBytes<kScratch>);
  uint32_t left = passes.partial;
#pragma unroll 1
  for (int pass = passes.first; pass < passes.end; ++pass) {
    const uint32_t offset = static_cast<uint32_t>(pass) * kPrepareThreads * kGroup;
    const uint64_t first = s.canonical + static_cast<uint64_t>(element) + offset;
    Octet<kWire> wire;
    float w[kGroup];
    wire.load(wire_base + offset * kElementBytes<kWire>);
    wire.widen(w);
    float zero = 0.0f;
    if (updates) zero = update_octet<kWire, kNoise, kUpdate>(job, a, b, first, wire, w);
    if (add_zeros(w, zero) != 0.0f) {
      left |= 1u << pass;
      continue;
    }
    if (updates && job.store) wire.store(wire_base + offset * kElementBytes<kWire>);
    if (job.side_count == 0) continue;
    float z[kGroup];
    if (draws) draw<kNoise>(job.noise, first, z);
#pragma unroll
    for (uint32_t side = 0; side < contract::kMaxSides; ++side) {
      if (side >= job.side_count) break;
      Octet<kScratch> out;
      float x[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) x[i] = draws ? numerics::perturb(job.sides[side].eps, z[i], w[i]) : w[i];
      out.narrow(x);
      out.store(job.sides[side].scratch + scratch + offset * kElementBytes<kScratch>);
    }
  }
  for (; left != 0; left &= left - 1)
    prepare_single(job, s, a, group + static_cast<uint64_t>(__ffs(static_cast<int>(left)) - 1) * kPrepareThreads);
}

// Nobody computes in one dtype of 16 bits with weights in the other.
constexpr bool has_kernel(uint32_t wire, uint32_t scratch) {
  return wire == scratch || wire == ZO2_F32 || scratch == ZO2_F32;
}

template <uint32_t kDtype>
using Dtype = std::integral_constant<uint32_t, kDtype>;

// Calls f with the dtype as a type, so that a kernel can be chosen by it.
template <class F>
cudaError_t with_dtype(uint32_t dtype, F&& f) {
  if (dtype == ZO2_F32) return f(Dtype<ZO2_F32>{});
  return dtype == ZO2_F16 ? f(Dtype<ZO2_F16>{}) : f(Dtype<ZO2_BF16>{});
}

template <class F>
cudaError_t with_noise(bool gaussian, F&& f) {
  return gaussian ? f(std::integral_constant<zo2_noise_kind, ZO2_NOISE_GAUSSIAN>{})
                  : f(std::integral_constant<zo2_noise_kind, ZO2_NOISE_RADEMACHER>{});
}

template <bool kRounds, class F>
cudaError_t with_update(const UniformJob& job, F&& f) {
  if (!job.updates) return f(std::integral_constant<Update, Update::kNone>{});
  if constexpr (kRounds) {
    if (job.stochastic) return f(std::integral_constant<Update, Update::kStochastic>{});
  }
  return f(std::integral_constant<Update, Update::kNearest>{});
}

bool draws_sides(const PrepareCommand& command) { return command.draws && command.side_count != 0; }

// The kind of noise that is drawn, of the sides or of the update; without any, some kind.
zo2_noise_kind noise_kind(const PrepareCommand& command) {
  if (draws_sides(command)) return command.noise;
  return command.updates.empty() ? ZO2_NOISE_RADEMACHER : command.updates[0].noise;
}

DrawnNoise drawn(zo2_noise_kind kind, uint64_t seed, uint32_t step, uint32_t direction) {
  const numerics::Purpose purpose =
      kind == ZO2_NOISE_GAUSSIAN ? numerics::kPurposeGaussian : numerics::kPurposeRademacher;
  return {noise::round_keys(seed), step, numerics::noise_stream(seed, step, purpose, direction).tag};
}

// Whether groups of eight elements of a segment, of which `first` is the first, lie at multiples of 16 bytes.
bool groups_aligned(const unsigned char* first, uint32_t dtype, const zo2_segment& s) {
  const uint64_t skew = s.canonical % kGroup * (dtype == ZO2_F32 ? 4 : 2);
  return (reinterpret_cast<uintptr_t>(first) - skew) % 16 == 0;
}

UniformJob make_job(const PrepareCommand& command, const zo2_segment* segments) {
  UniformJob job{};
  job.segments = segments;
  job.segment_count = command.layout->segments().size();
  job.wire = command.wire;
  std::copy(std::begin(command.sides), std::end(command.sides), job.sides);
  job.side_count = command.side_count;
  job.draws = draws_sides(command);
  job.store = command.store;
  job.gaussian = noise_kind(command) == ZO2_NOISE_GAUSSIAN;
  job.noise = drawn(noise_kind(command), command.seed, command.step, command.direction);
  if (command.updates.empty()) return job;
  const PendingUpdate& update = command.updates[0];
  job.updates = true;
  job.update = drawn(update.noise, update.seed, update.step, 0);
  job.rounding_tag = numerics::noise_stream(update.seed, update.step, numerics::kPurposeRounding, 0).tag;
  job.b = numerics::decay_coefficient(update.learning_rate, update.weight_decay);
  job.learning_rate = update.learning_rate;
  job.coefficient = update.coefficients;
  job.sticky = command.sticky;
  return job;
}

}  // namespace

bool is_uniform_prepare(const PrepareCommand& command) {
  const zo2_noise_kind noise = noise_kind(command);
  if ((noise != ZO2_NOISE_GAUSSIAN && noise != ZO2_NOISE_RADEMACHER) || command.updates.size() > 1) return false;
  for (const PendingUpdate& update : command.updates) {
    if (update.directions != 1 || update.noise != noise) return false;
  }
  const zo2_segment* first = nullptr;
  for (const zo2_segment& s : command.layout->segments()) {
    if (s.count == 0) continue;
    if (first == nullptr) first = &s;
    if (is_gathered(s) || is_blocked(s) || s.wire_dtype != first->wire_dtype ||
        s.scratch_dtype != first->scratch_dtype || !groups_aligned(command.wire + s.wire_offset, s.wire_dtype, s))
      return false;
    for (uint32_t side = 0; side < command.side_count; ++side) {
      if (!groups_aligned(command.sides[side].scratch + s.scratch_offset, s.scratch_dtype, s)) return false;
    }
  }
  return first != nullptr && has_kernel(first->wire_dtype, first->scratch_dtype);
}

cudaError_t launch_uniform_prepare(const Launch& launch, const PrepareCommand& command, const zo2_segment* segments,
                                   unsigned blocks) {
  UniformJob job = make_job(command, segments);
  const std::vector<zo2_segment>& list = command.layout->segments();
  const zo2_segment& s = *std::find_if(list.begin(), list.end(), [](const zo2_segment& x) { return x.count != 0; });
  job.stochastic = command.rounding == ZO2_ROUND_STOCHASTIC && s.wire_dtype != ZO2_F32;
  return with_dtype(s.wire_dtype, [&](auto wire) {
    return with_dtype(s.scratch_dtype, [&](auto scratch) -> cudaError_t {
      if constexpr (!has_kernel(wire(), scratch())) {
        return cudaErrorInvalidConfiguration;
      } else {
        return with_noise(job.gaussian, [&](auto noise) {
          return with_update<wire() != ZO2_F32>(job, [&](auto update) {
            return ZO2_LAUNCH((prepare_uniform_kernel<wire(), scratch(), noise(), update()>), blocks, kPrepareThreads,
                              0, launch.stream, job, launch.poison());
          });
        });
      }
    });
  });
}

}  // namespace zo2::cuda
