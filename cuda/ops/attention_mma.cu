#include "cuda/ops/attention_mma.cuh"

#include "cuda/instructions/cp_async.h"
#include "cuda/instructions/exp2.h"
#include "cuda/instructions/ldmatrix.h"
#include "cuda/instructions/mma.h"
#include "cuda/instructions/opaque.h"
#include "cuda/ops/attention_tile.cuh"
#include "cuda/ops/pack.cuh"

namespace zo2::cuda {
namespace {

using attention::KeyRange;
using attention::KeyTile;
using attention::QueryTile;

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int64_t kMostStride = INT32_MAX;  // of k and v, in elements

template <class T>
struct Operand;
template <>
struct Operand<__half> {
  using Mma = F16;
  __device__ static uint32_t pair(float low, float high) {
    const __half2 both = __floats2half2_rn(low, high);
    return __half_as_ushort(__low2half(both)) | static_cast<uint32_t>(__half_as_ushort(__high2half(both))) << 16;
  }
};
template <>
struct Operand<__nv_bfloat16> {
  using Mma = BF16;
  __device__ static uint32_t pair(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return __bfloat16_as_ushort(__low2bfloat16(both)) |
           static_cast<uint32_t>(__bfloat16_as_ushort(__high2bfloat16(both))) << 16;
  }
};

// kWidth columns of a head, of which the last may be zeros. A warp has kBands bands of 16 query rows: two halve the
// traffic of shared memory for each product, as far as registers allow.
template <int kWidth, int kBandsPerWarp, int kKeysPerTile>
struct Shape {
  static constexpr int kBands = kBandsPerWarp, kKeys = kKeysPerTile;
  static constexpr int kWarpRows = 16 * kBands, kRows = kWarps * kWarpRows;
  static constexpr int kSteps = kWidth / 16;
  // Rows in shared memory are made of chunks of 16 bytes. ldmatrix reads one chunk of eight rows at a time; they fall
  // on different banks when the chunks of a row are rotated by the row's number, or when a row has an odd number of
  // chunks.
  static constexpr int kChunks = kWidth / 8;
  static constexpr bool kSwizzled = kChunks % 8 == 0;
  static constexpr int kPitch = kSwizzled ? kChunks : kChunks + 1;

  __device__ static int place(int row, int chunk) { return row * kPitch + (kSwizzled ? chunk ^ (row & 7) : chunk); }

  // The place 2 * step chunks further along the row of a place whose chunk is 0 or 1. Only two bits need an exclusive
  // or; the rest is a constant offset, which takes no register.
  __device__ static int along(int place, int step) {
    return kSwizzled ? (place ^ (2 * step & 7)) + (2 * step & ~7) : place + 2 * step;
  }

  struct Smem {
    uint4 q[kRows * kPitch];
    uint4 k[2][kKeys * kPitch];
    uint4 v[2][kKeys * kPitch];
  };
};

template <class T, class S>
class Block {
 public:
  using Smem = typename S::Smem;

  __device__ Block(const AttentionArgs& args, float scale_log2, int window, const QueryTile& tile, int64_t head,
                   Smem* shared)
      : args_(args),
        scale_log2_(scale_log2),
        window_(window),
        tile_(tile),
        column_(head * args.head_size()),
        key_column_(head / (args.heads / args.kv_heads) * args.head_size()),
        chunks_(static_cast<int>(args.head_size()) / 8),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_row_(static_cast<int>(threadIdx.x) / 32 * S::kWarpRows),
        q_place_(S::place(warp_row_ + lane_ % 16, lane_ / 16)),
        k_place_(S::place(lane_ % 8 + lane_ / 16 * 8, lane_ / 8 % 2)),
        v_place_(S::place(lane_ % 16, lane_ / 16)),
        shared_(shared) {}

  __device__ void run() {
    const KeyRange range(tile_, S::kRows, window_);
    load_queries();
    load_keys(KeyTile(tile_, range.begin, range.end), 0);
    cp_async_commit();
    clear();
    int stage = 0;
    for (int first = range.begin; first < range.end; first += S::kKeys, stage ^= 1) {
      cp_async_wait<0>();
      __syncthreads();  // this tile is there for all, and the tile before has been read by all
      if (first + S::kKeys < range.end) load_keys(KeyTile(tile_, first + S::kKeys, range.end), stage ^ 1);
      cp_async_commit();
      if (!sees(first)) continue;
      multiply_keys(shared_->k[stage]);
      weigh(first);
      multiply_values(shared_->v[stage]);
    }
    store();
  }

 private:
  __device__ void clear() {
#pragma unroll
    for (int b = 0; b < S::kBands; b++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        maximum_[b][h] = -INFINITY;
        sum_[b][h] = 0.0f;
      }
#pragma unroll
      for (int j = 0; j < 2 * S::kSteps; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) out_[b][j][e] = 0.0f;
      }
    }
  }

  // Threads that load have one chunk of every kLoadRows-th row each.
  static constexpr int kLoadRows = kThreads / S::kChunks;

  // Calls load(row, chunk, whether the head has this chunk) for the rows and the chunk of a tile that are this
  // thread's. Where they lie is computed for each tile: kept from tile to tile, it makes heads of 96 and 128 spill.
  template <int kTileRows, class Load>
  __device__ void for_chunks(const Load& load) const {
    const int thread = opaque(static_cast<int>(threadIdx.x)), first = thread / S::kChunks, chunk = thread % S::kChunks;
    if (first >= kLoadRows) return;
#pragma unroll
    for (int i = 0; i < kTileRows; i += kLoadRows) {
      if (i + kLoadRows <= kTileRows || i + first < kTileRows) load(i + first, chunk, chunk < chunks_);
    }
  }

  // An address `row` rows behind p; rows are less than 2^32 bytes apart.
  __device__ static const T* behind(const T* p, int row, uint32_t row_bytes) {
    return reinterpret_cast<const T*>(reinterpret_cast<const unsigned char*>(p) +
                                      static_cast<uint64_t>(static_cast<uint32_t>(row)) * row_bytes);
  }

  __device__ void load_queries() {
    const T* base = elements<const T>(args_.q, int64_t{tile_.start} + tile_.first, column_);
    const int rows = tile_.length - tile_.first;
    for_chunks<S::kRows>([&](int row, int chunk, bool inside) {
      const bool there = inside && row < rows;
      cp_async_16(shared_->q + S::place(row, chunk), there ? base + row * args_.q.stride + chunk * 8 : base,
                  there ? 16 : 0);
    });
  }

  __device__ void load_keys(const KeyTile& keys, int stage) {
    const T* k = elements<const T>(args_.k, 0, key_column_);
    const T* v = elements<const T>(args_.v, 0, key_column_);
    const uint32_t k_bytes = static_cast<uint32_t>(args_.k.stride * sizeof(T)),
                   v_bytes = static_cast<uint32_t>(args_.v.stride * sizeof(T));
    for_chunks<S::kKeys>([&](int i, int chunk, bool inside) {
      const int row = inside ? keys.row(i) : -1, from = row < 0 ? 0 : row, bytes = row < 0 ? 0 : 16;
      const int place = S::place(i, chunk), column = inside ? chunk * 8 : 0;
      cp_async_16(shared_->k[stage] + place, behind(k, from, k_bytes) + column, bytes);
      cp_async_16(shared_->v[stage] + place, behind(v, from, v_bytes) + column, bytes);
    });
  }

  // The position of this warp's first row, counted from position `first`.
  __device__ int ahead(int first) const { return tile_.prefix_length + tile_.first + warp_row_ - first; }

  // Whether any row of this warp sees any of the keys from `first` on.
  __device__ bool sees(int first) const {
    if (tile_.first + warp_row_ >= tile_.length) return false;
    const int row = ahead(first);
    return row + S::kWarpRows > 0 && row - window_ < S::kKeys - 1;
  }

  __device__ void multiply_keys(const uint4* k) {
#pragma unroll
    for (int b = 0; b < S::kBands; b++) {
#pragma unroll
      for (int j = 0; j < S::kKeys / 8; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) score_[b][j][e] = 0.0f;
      }
    }
#pragma unroll 4  // fully unrolled, 96 and 128 columns run out of registers for addresses
    for (int step = 0; step < S::kSteps; step++) {
      uint32_t q[S::kBands][4];
#pragma unroll
      for (int b = 0; b < S::kBands; b++) ldmatrix_x4(q[b], shared_->q + b * 16 * S::kPitch + S::along(q_place_, step));
#pragma unroll
      for (int j = 0; j < S::kKeys / 16; j++) {
        uint32_t both[4];
        ldmatrix_x4(both, k + j * 16 * S::kPitch + S::along(k_place_, step));
        const uint32_t low[2] = {both[0], both[1]}, high[2] = {both[2], both[3]};
#pragma unroll
        for (int b = 0; b < S::kBands; b++) {
          mma_m16n8k16(score_[b][2 * j], q[b], low, Mma{});
          mma_m16n8k16(score_[b][2 * j + 1], q[b], high, Mma{});
        }
      }
    }
  }

  // Scores become weights exp2(score - maximum), and what was summed before is brought to the new maximum.
  __device__ void weigh(int first) {
    const int row = ahead(first);
    const bool masked = row < S::kKeys - 1 || row + S::kWarpRows - 1 - window_ >= 0;
#pragma unroll
    for (int b = 0; b < S::kBands; b++) {
#pragma unroll
      for (int j = 0; j < S::kKeys / 8; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) score_[b][j][e] *= scale_log2_;
      }
    }
    if (masked) {
#pragma unroll
      for (int b = 0; b < S::kBands; b++) {
#pragma unroll
        for (int h = 0; h < 2; h++) mask(score_[b], h, row + b * 16 + h * 8 + lane_ / 4);
      }
    }
#pragma unroll
    for (int b = 0; b < S::kBands; b++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float largest = maximum_[b][h];
#pragma unroll
        for (int j = 0; j < S::kKeys / 8; j++)
          largest = fmaxf(largest, fmaxf(score_[b][j][2 * h], score_[b][j][2 * h + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        const float shift = largest == -INFINITY ? 0.0f : largest;  // a row may see none of the first keys of a window
        const float correction = exp2_fast(maximum_[b][h] - shift);
        maximum_[b][h] = largest;
        float sum = sum_[b][h] * correction;
#pragma unroll
        for (int j = 0; j < S::kKeys / 8; j++) {
#pragma unroll
          for (int e = 2 * h; e < 2 * h + 2; e++) sum += score_[b][j][e] = exp2_fast(score_[b][j][e] - shift);
        }
        sum_[b][h] = sum;
#pragma unroll
        for (int j = 0; j < 2 * S::kSteps; j++) {
          out_[b][j][2 * h] *= correction;
          out_[b][j][2 * h + 1] *= correction;
        }
      }
    }
  }

  // Hides the keys that a row at `position`, counted from the tile's first key, does not see.
  __device__ void mask(float (&score)[S::kKeys / 8][4], int h, int position) const {
    const int last = position - lane_ % 4 * 2;  // counted from this lane's first key
#pragma unroll
    for (int j = 0; j < S::kKeys / 8; j++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int key = j * 8 + e;
        if (key > last || key <= last - window_) score[j][2 * h + e] = -INFINITY;
      }
    }
  }

  __device__ void multiply_values(const uint4* v) {
#pragma unroll
    for (int step = 0; step < S::kKeys / 16; step++) {
      uint32_t weight[S::kBands][4];
#pragma unroll
      for (int b = 0; b < S::kBands; b++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* s = score_[b][2 * step + i / 2] + i % 2 * 2;
          weight[b][i] = Operand<T>::pair(s[0], s[1]);
        }
      }
#pragma unroll
      for (int j = 0; j < S::kSteps; j++) {
        uint32_t both[4];
        ldmatrix_x4_trans(both, v + step * 16 * S::kPitch + S::along(v_place_, j));
        const uint32_t low[2] = {both[0], both[1]}, high[2] = {both[2], both[3]};
#pragma unroll
        for (int b = 0; b < S::kBands; b++) {
          mma_m16n8k16(out_[b][2 * j], weight[b], low, Mma{});
          mma_m16n8k16(out_[b][2 * j + 1], weight[b], high, Mma{});
        }
      }
    }
  }

  __device__ void store() const {
    for_dtype(args_.out.dtype, [&](auto t) { store_as<decltype(t)>(); });
  }

  template <class Out>
  __device__ void store_as() const {
    const bool pairs = rows_aligned(args_.out, 2 * sizeof(Out));  // heads have an even number of columns
#pragma unroll
    for (int b = 0; b < S::kBands; b++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float sum = sum_[b][h];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const int row = tile_.first + warp_row_ + b * 16 + h * 8 + lane_ / 4;
        if (row >= tile_.length) continue;
        const float inverse = 1.0f / sum;
        Out* to = elements<Out>(args_.out, int64_t{tile_.start} + row, column_) + lane_ % 4 * 2;
#pragma unroll
        for (int j = 0; j < 2 * S::kSteps; j++) {
          if (j < chunks_) store_pair(to + j * 8, out_[b][j][2 * h] * inverse, out_[b][j][2 * h + 1] * inverse, pairs);
        }
      }
    }
  }

  template <class Out>
  __device__ static void store_pair(Out* to, float first, float second, bool together) {
    if (!together) {
      to[0] = narrow<Out>(first);
      to[1] = narrow<Out>(second);
    } else if constexpr (sizeof(Out) == 4) {
      *reinterpret_cast<float2*>(to) = make_float2(first, second);
    } else {
      *reinterpret_cast<uint32_t*>(to) = Operand<Out>::pair(first, second);
    }
  }

  using Mma = typename Operand<T>::Mma;

  const AttentionArgs& args_;
  const float scale_log2_;  // weights are powers of two
  const int window_;
  const QueryTile& tile_;
  const int64_t column_, key_column_;
  const int chunks_;  // of a head
  const int lane_, warp_row_;
  const int q_place_, k_place_, v_place_;  // where this lane's first matrix row of a tile lies
  Smem* const shared_;
  // In the layout of mma.h: [band][8 columns][row g: 0, 1; row g + 8: 2, 3].
  float score_[S::kBands][S::kKeys / 8][4];
  float out_[S::kBands][2 * S::kSteps][4];
  float maximum_[S::kBands][2], sum_[S::kBands][2];  // of rows g and g + 8; the sums are of this lane's keys alone
};

template <class T, class S>
__global__ void __launch_bounds__(kThreads)
    attention_mma_kernel(const uint32_t* poison, AttentionArgs args, float scale_log2, int window) {
  if (*poison != 0) return;
  using Smem = typename S::Smem;
  ZO2_SHARED_DYNAMIC(Smem, shared);
  QueryTile tile;
  if (!attention::find_query_tile(args.sequences, blockIdx.x / args.heads, S::kRows, tile)) return;
  Block<T, S>(args, scale_log2, window, tile, blockIdx.x % args.heads, shared).run();
}

template <class T, class S>
cudaError_t launch_as(const Launch& launch, const AttentionArgs& args) {
  const float scale_log2 = static_cast<float>(static_cast<double>(args.scale) * 1.4426950408889634);
  return ZO2_LAUNCH((attention_mma_kernel<T, S>), attention::grid_of(args, S::kRows), dim3(kThreads),
                    sizeof(typename S::Smem), launch.stream, launch.poison(), args, scale_log2,
                    attention::window_of(args));
}

template <class T>
cudaError_t launch_type(const Launch& launch, const AttentionArgs& args) {
  const int64_t width = args.head_size();
  if (width <= 32) return launch_as<T, Shape<32, 2, 64>>(launch, args);
  if (width <= 64) return launch_as<T, Shape<64, 2, 64>>(launch, args);
  if (width <= 80) return launch_as<T, Shape<80, 2, 64>>(launch, args);
  if (width <= 96) return launch_as<T, Shape<96, 2, 64>>(launch, args);
  if (width <= 128) return launch_as<T, Shape<128, 2, 32>>(launch, args);
  return launch_as<T, Shape<256, 1, 32>>(launch, args);
}

}  // namespace

bool attention_mma_accepts(const AttentionArgs& args) {
  const int64_t width = args.head_size();
  const bool one_dtype = args.q.dtype != ZO2_F32 && args.k.dtype == args.q.dtype && args.v.dtype == args.q.dtype;
  if (args.k.stride > kMostStride || args.v.stride > kMostStride) return false;
  return one_dtype && width % 16 == 0 && width <= 256 && packs_aligned(args.q) && packs_aligned(args.k) &&
         packs_aligned(args.v);
}

cudaError_t launch_attention_mma(const Launch& launch, const AttentionArgs& args) {
  if (args.q.empty() || args.sequences.rows == 0) return cudaSuccess;
  return args.q.dtype == ZO2_F16 ? launch_type<__half>(launch, args) : launch_type<__nv_bfloat16>(launch, args);
}

}  // namespace zo2::cuda
