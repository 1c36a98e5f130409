#include "cuda/ops/attention_simt.cuh"

#include "cuda/ops/attention_tile.cuh"
#include "cuda/ops/pack.cuh"

namespace zo2::cuda {
namespace {

using attention::KeyRange;
using attention::KeyTile;
using attention::QueryTile;

// Threads stand in a square of 16 x 16: a thread has kThreadRows query rows, of every 16 keys one, and of every 64
// columns of out four.
constexpr int kSide = 16;
constexpr int kThreads = kSide * kSide;
constexpr int kKeys = 32;

// Rows are four floats longer than the head, so that 16-byte reads down a column of rows fall on different banks.
template <int kWidth, int kThreadRows>
struct Shared {
  static constexpr int kRows = kSide * kThreadRows, kPitch = kWidth + 4, kWeightPitch = kKeys + 4;

  float q[kRows * kPitch];
  float keys[kKeys * kPitch];  // k, and after the scores are done v
  float weights[kRows * kWeightPitch];
};

// One head's columns of rows of a matrix to fp32, with zeros for rows that are not there and up to the next pack of
// columns.
template <int kRows, int kPitch, class RowOf>
__device__ void fill(const Matrix& m, int64_t col, int width, bool vector, const RowOf& row_of, float* tile) {
  for_dtype(m.dtype, [&](auto t) {
    using T = decltype(t);
    const int packs = (width + kPack - 1) / kPack;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * packs; i += kThreads) {
      const int r = i / packs, c = i % packs * kPack;
      const int row = row_of(r);
      float x[kPack];
      load_pack(elements<const T>(m, row < 0 ? 0 : row, col + c), row < 0 ? 0 : width - c, vector, x);
      store_vector(tile + r * kPitch + c, x);
    }
  });
}

__device__ inline float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

__device__ inline void add_scaled(float4& sum, float factor, float4 x) {
  sum = make_float4(fmaf(factor, x.x, sum.x), fmaf(factor, x.y, sum.y), fmaf(factor, x.z, sum.z),
                    fmaf(factor, x.w, sum.w));
}

__device__ inline const float4& four(const float* p) { return *reinterpret_cast<const float4*>(p); }

struct Vectors {
  bool q, k, v;
  bool out;  // stores of four
};

template <int kWidth, int kThreadRows>
class Block {
 public:
  using Smem = Shared<kWidth, kThreadRows>;
  static constexpr int kColumns = kWidth / (4 * kSide);  // groups of four columns that a thread has

  __device__ Block(const AttentionArgs& args, const Vectors& vectors, int window, const QueryTile& tile, int64_t head,
                   Smem* shared)
      : args_(args),
        vectors_(vectors),
        window_(window),
        tile_(tile),
        column_(head * args.head_size()),
        key_column_(head / (args.heads / args.kv_heads) * args.head_size()),
        width_(static_cast<int>(args.head_size())),
        x_(static_cast<int>(threadIdx.x) % kSide),
        y_(static_cast<int>(threadIdx.x) / kSide),
        shared_(shared) {}

  __device__ void run() {
    const KeyRange range(tile_, Smem::kRows, window_);
    fill<Smem::kRows, Smem::kPitch>(
        args_.q, column_, width_, vectors_.q,
        [&](int r) { return tile_.first + r < tile_.length ? tile_.start + tile_.first + r : -1; }, shared_->q);
#pragma unroll
    for (int i = 0; i < kThreadRows; i++) {
      maximum_[i] = -INFINITY;
      sum_[i] = 0.0f;
#pragma unroll
      for (int c = 0; c < kColumns; c++) out_[i][c] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
    for (int first = range.begin; first < range.end; first += kKeys) {
      const KeyTile keys(tile_, first, range.end);
      const auto row_of = [&](int i) { return keys.row(i); };
      __syncthreads();  // the values of the tile before have been read
      fill<kKeys, Smem::kPitch>(args_.k, key_column_, width_, vectors_.k, row_of, shared_->keys);
      __syncthreads();
      weigh(first);
      __syncthreads();  // the keys have been read, and the weights are there
      fill<kKeys, Smem::kPitch>(args_.v, key_column_, width_, vectors_.v, row_of, shared_->keys);
      __syncthreads();
      accumulate();
    }
    store();
  }

 private:
  // Scores, the running softmax, and the weights of this tile of keys.
  __device__ void weigh(int first_key) {
    float score[kThreadRows][2] = {};
    for (int c = 0; c < width_; c += 4) {
      const float4 k0 = four(shared_->keys + x_ * Smem::kPitch + c),
                   k1 = four(shared_->keys + (x_ + kSide) * Smem::kPitch + c);
#pragma unroll
      for (int i = 0; i < kThreadRows; i++) {
        const float4 q = four(shared_->q + (y_ * kThreadRows + i) * Smem::kPitch + c);
        score[i][0] = dot(q, k0, score[i][0]);
        score[i][1] = dot(q, k1, score[i][1]);
      }
    }
#pragma unroll
    for (int i = 0; i < kThreadRows; i++) {
      const int position = tile_.prefix_length + tile_.first + y_ * kThreadRows + i;
      float largest = maximum_[i];
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int key = first_key + x_ + j * kSide;
        const bool seen = key <= position && key > position - window_;
        score[i][j] = seen ? score[i][j] * args_.scale : -INFINITY;
        largest = fmaxf(largest, score[i][j]);
      }
#pragma unroll
      for (int distance = kSide / 2; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
      const float shift = largest == -INFINITY ? 0.0f : largest;  // a row may see none of the first keys of a window
      const float correction = expf(maximum_[i] - shift);
      maximum_[i] = largest;
      sum_[i] *= correction;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float weight = expf(score[i][j] - shift);
        sum_[i] += weight;
        shared_->weights[(y_ * kThreadRows + i) * Smem::kWeightPitch + x_ + j * kSide] = weight;
      }
#pragma unroll
      for (int c = 0; c < kColumns; c++) {
        float4& o = out_[i][c];
        o = make_float4(o.x * correction, o.y * correction, o.z * correction, o.w * correction);
      }
    }
  }

  __device__ void accumulate() {
#pragma unroll 2
    for (int k = 0; k < kKeys; k += 4) {
      float4 weight[kThreadRows];
#pragma unroll
      for (int i = 0; i < kThreadRows; i++)
        weight[i] = four(shared_->weights + (y_ * kThreadRows + i) * Smem::kWeightPitch + k);
#pragma unroll
      for (int c = 0; c < kColumns; c++) {
        const int col = (c * kSide + x_) * 4;
        if (col >= width_) continue;
        const float* values = shared_->keys + k * Smem::kPitch + col;
        const float4 v0 = four(values), v1 = four(values + Smem::kPitch), v2 = four(values + 2 * Smem::kPitch),
                     v3 = four(values + 3 * Smem::kPitch);
#pragma unroll
        for (int i = 0; i < kThreadRows; i++) {
          add_scaled(out_[i][c], weight[i].x, v0);
          add_scaled(out_[i][c], weight[i].y, v1);
          add_scaled(out_[i][c], weight[i].z, v2);
          add_scaled(out_[i][c], weight[i].w, v3);
        }
      }
    }
  }

  __device__ void store() {
#pragma unroll
    for (int i = 0; i < kThreadRows; i++) {
      float sum = sum_[i];
#pragma unroll
      for (int distance = kSide / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
      const int row = tile_.first + y_ * kThreadRows + i;
      if (row >= tile_.length) continue;
      const float inverse = 1.0f / sum;
#pragma unroll
      for (int c = 0; c < kColumns; c++) {
        const int col = (c * kSide + x_) * 4, left = width_ - col;
        if (left <= 0) continue;
        const float4 o = out_[i][c];
        store_clipped(args_.out, int64_t{tile_.start} + row, column_ + col, left < 4 ? left : 4, vectors_.out,
                      make_float4(o.x * inverse, o.y * inverse, o.z * inverse, o.w * inverse));
      }
    }
  }

  const AttentionArgs& args_;
  const Vectors& vectors_;
  const int window_;
  const QueryTile& tile_;
  const int64_t column_, key_column_;
  const int width_, x_, y_;
  Smem* const shared_;
  float4 out_[kThreadRows][kColumns];
  float maximum_[kThreadRows], sum_[kThreadRows];
};

template <int kWidth, int kThreadRows>
__global__ void __launch_bounds__(kThreads)
    attention_simt_kernel(const uint32_t* poison, AttentionArgs args, Vectors vectors, int window) {
  if (*poison != 0) return;
  using Smem = Shared<kWidth, kThreadRows>;
  ZO2_SHARED_DYNAMIC(Smem, shared);
  QueryTile tile;
  if (!attention::find_query_tile(args.sequences, blockIdx.x / args.heads, Smem::kRows, tile)) return;
  Block<kWidth, kThreadRows>(args, vectors, window, tile, blockIdx.x % args.heads, shared).run();
}

template <int kWidth, int kThreadRows>
cudaError_t launch_as(const Launch& launch, const AttentionArgs& args) {
  using Smem = Shared<kWidth, kThreadRows>;
  const auto vectors_in = [&](const Matrix& m) {
    return packs_aligned(m) && args.head_size() * dtype_bytes(m.dtype) % 16 == 0;
  };
  const Vectors vectors = {vectors_in(args.q), vectors_in(args.k), vectors_in(args.v),
                           fours_aligned(args.out) && args.head_size() % 4 == 0};
  return ZO2_LAUNCH((attention_simt_kernel<kWidth, kThreadRows>), attention::grid_of(args, Smem::kRows), dim3(kThreads),
                    sizeof(Smem), launch.stream, launch.poison(), args, vectors, attention::window_of(args));
}

}  // namespace

cudaError_t launch_attention_simt(const Launch& launch, const AttentionArgs& args) {
  if (args.q.empty() || args.sequences.rows == 0) return cudaSuccess;
  if (args.head_size() <= 64) return launch_as<64, 4>(launch, args);
  if (args.head_size() <= 128) return launch_as<128, 4>(launch, args);
  return launch_as<256, 2>(launch, args);
}

}  // namespace zo2::cuda
