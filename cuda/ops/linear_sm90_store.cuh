// How the Hopper matrix product finishes and stores a warp's 16 rows of a tile.
//
// wgmma leaves pairs of neighbouring columns in a thread. A warp that stores one pair from each thread touches 8 rows,
// and of each the 8 elements of 4 lanes. What that costs is counted in sectors, the 32 bytes that memory moves:
//
//   fp32     32 bytes of a row: 8 sectors asked for, 8 moved, each whole. No order of lanes moves fewer, so pairs go
//            straight from the registers (kPairs).
//   16 bits  16 bytes of a row: half a sector. A store is passed on to L2 as it is, so that every sector would be
//            written twice, in halves. Through shared memory a warp stores 128 bytes of each of 4 rows: 16 sectors,
//            each whole and once (kChunks). Loads of a 16-bit residual stay pairs: the other half of a sector is found
//            in L1.
//   others   any dtypes, alignment, activation and scale, a residual inside of the activation, and the last columns
//            where there are not 64 of them: four at a time by finish_tile (kGeneral).
#pragma once

#include "cuda/ops/linear.cuh"
#include "cuda/ops/pack.cuh"

namespace zo2::cuda {

enum class Sm90Store { kPairs, kChunks, kGeneral };

// The first two need no activation or relu, the scale 1, bias in fp32 and residual in out's dtype, added last. kPairs
// is for out in fp32, with pairs of columns aligned; kChunks for out in x's dtype, with rows aligned to 16 bytes.
// test/fixtures/linear-stores.txt holds bench/lib/linear-store.mjs to the same: it counts how much work takes which.
inline Sm90Store sm90_store(const LinearArgs& args) {
  const auto aligned = [](const Matrix& m) { return !m.present() || rows_aligned(m, 2 * dtype_bytes(m.dtype)); };
  const bool bias = !args.bias.present() || args.bias.dtype == ZO2_F32;
  const bool residual = !args.residual.present() || args.residual.dtype == args.out.dtype;
  const bool activation = args.activation == ZO2_ACTIVATION_NONE || args.activation == ZO2_ACTIVATION_RELU;
  if (args.scale != 1.0f || args.inner) return Sm90Store::kGeneral;
  if (!bias || !residual || !activation || !aligned(args.bias) || !aligned(args.residual)) return Sm90Store::kGeneral;
  if (args.out.dtype == ZO2_F32) return aligned(args.out) ? Sm90Store::kPairs : Sm90Store::kGeneral;
  return args.out.dtype == args.x.dtype && rows_aligned(args.out, 16) ? Sm90Store::kChunks : Sm90Store::kGeneral;
}

// What a block needs to finish its sums. `nothing`, what is added for an absent bias or residual, is -0, which changes
// no sum (0 would change -0); and as the compiler does not see that, it makes no code of its own for each absence.
struct Sm90Epilogue : LinearArgs {
  explicit Sm90Epilogue(const LinearArgs& args)
      : LinearArgs(args),
        way(sm90_store(args)),
        floor(args.activation == ZO2_ACTIVATION_RELU ? 0.0f : -INFINITY),
        nothing(-0.0f) {}

  Sm90Store way;
  float floor;  // of relu, where the way is not kGeneral
  float nothing;
};

// Two neighbouring elements as one access moves them: 16-bit ones in a word, so that they take one register.
template <class T>
struct Pair {
  uint32_t word;

  __device__ static Pair of(float2 v) {
    return {narrow_bits(v.x, DtypeOf<T>::value) | narrow_bits(v.y, DtypeOf<T>::value) << 16};
  }
  __device__ float2 widened() const {
    return make_float2(widen_bits(word & 0xffffu, DtypeOf<T>::value), widen_bits(word >> 16, DtypeOf<T>::value));
  }
};
template <>
struct Pair<float> {
  float2 both;

  __device__ static Pair of(float2 v) { return {v}; }
  __device__ float2 widened() const { return both; }
};

// A warp's 16 rows of a tile, in batches of 64 columns: the accumulators of wgmma_m64k16 (sums[4 j + e]: row + 8 (e /
// 2), column + 8 j + e % 2) with bias, relu and residual into out. kWhole: all rows and columns lie in out; nothing is
// tested. Otherwise rows are clipped to it, and only batches whose columns all lie in out are stored: the first
// `columns_stored`. A batch of residual is read before the warp writes the same batch of out, so that the two may be
// one matrix.
template <class T, int kCount, bool kWhole>
class FragmentStore {
 public:
  static constexpr int kBatch = 64;                     // columns
  static constexpr int kStagedBytes = 16 * kBatch * 2;  // what chunks need of shared memory

  // `row`, `column`: of the warp's first element; column is a multiple of 8.
  __device__ FragmentStore(const Sm90Epilogue& args, int64_t row, int64_t column, int lane)
      : args_(args),
        row_(row),
        column_(column),
        lane_(lane),
        rows_left_(kWhole ? 16 : clip(args.out.rows - row, 16)),
        batches_(kWhole ? kBatches : clip(args.out.cols - column, kCount * 2) / kBatch) {}

  __device__ int columns_stored() const { return batches_ * kBatch; }

  __device__ void pairs(float (&sums)[kCount]) const {
    T* const out = fragments(args_.out);
    store(sums, [&](int first) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (!within(half)) continue;
#pragma unroll
        for (int j = first; j < first + kGroups; ++j) {
          *reinterpret_cast<Pair<T>*>(out + half * 8 * args_.out.stride + j * 8) = packed(sums, half, j);
        }
      }
    });
  }

  // `staged`: kStagedBytes of shared memory, the warp's own, at a multiple of 16 bytes.
  __device__ void chunks(float (&sums)[kCount], void* staged) const {
    // Row r of the batch has its chunk c of 8 columns at chunk c ^ (r & 7): neither the words of 8 rows that a warp
    // writes at once nor the chunks that 8 lanes read share a bank.
    Pair<T>* const words = static_cast<Pair<T>*>(staged);
    const uint4* const whole = static_cast<const uint4*>(staged);
    const int chunk = lane_ % 8;
    T* const out = place(args_.out, row_ + lane_ / 8, column_ + chunk * 8);
    store(sums, [&](int first) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int j = 0; j < kGroups; ++j) {
          words[(lane_ / 4 + half * 8) * (kBatch / 2) + (j ^ lane_ / 4) * 4 + lane_ % 4] =
              packed(sums, half, first + j);
        }
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = lane_ / 8 + i * 4;
        if (kWhole || r < rows_left_) {
          *reinterpret_cast<uint4*>(out + i * 4 * args_.out.stride + first * 8) =
              whole[r * (kBatch / 8) + (chunk ^ (r & 7))];
        }
      }
      __syncwarp();
    });
  }

 private:
  static constexpr int kGroups = kBatch / 8;  // pairs that a thread has of one row of a batch
  static constexpr int kBatches = kCount * 2 / kBatch;
  static_assert(kBatches * kBatch == kCount * 2, "a tile is of whole batches");

  struct Loaded {
    float2 bias[kGroups];
    Pair<T> residual[2][kGroups];
  };

  // The loads of a batch are issued together: a thread waits for memory once a batch. Sums are finished in their own
  // registers, so that those of their operands are free for the next batch, whose loads go before the stores of this.
  template <class StoreBatch>
  __device__ void store(float (&sums)[kCount], StoreBatch&& store_batch) const {
    if constexpr (kWhole) {
      Loaded loaded = load(0);
#pragma unroll
      for (int first = 0; first < kCount / 4; first += kGroups) {
        finish(sums, first, loaded);
        if (first + kGroups < kCount / 4) loaded = load(first + kGroups);
        store_batch(first);
      }
    } else {
#pragma unroll
      for (int first = 0; first < kCount / 4; first += kGroups) {
        if (first >= batches_ * kGroups) break;
        finish(sums, first, load(first));
        store_batch(first);
      }
    }
  }

  __device__ Loaded load(int first) const {
    const Pair<T> none = Pair<T>::of(make_float2(args_.nothing, args_.nothing));
    Loaded to;
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      to.bias[j] = make_float2(args_.nothing, args_.nothing);
      to.residual[0][j] = to.residual[1][j] = none;
    }
    if (args_.bias.present()) {
      const float* const bias = static_cast<const float*>(args_.bias.data) + column_ + lane_ % 4 * 2 + first * 8;
#pragma unroll
      for (int j = 0; j < kGroups; ++j) to.bias[j] = *reinterpret_cast<const float2*>(bias + j * 8);
    }
    if (args_.residual.present()) {
      const T* const residual = fragments(args_.residual) + first * 8;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (!within(half)) continue;
#pragma unroll
        for (int j = 0; j < kGroups; ++j) {
          to.residual[half][j] = *reinterpret_cast<const Pair<T>*>(residual + half * 8 * args_.residual.stride + j * 8);
        }
      }
    }
    return to;
  }

  __device__ void finish(float (&sums)[kCount], int first, const Loaded& loaded) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        float* const two = sums + 4 * (first + j) + 2 * half;
        const float2 bias = loaded.bias[j], residual = loaded.residual[half][j].widened();
        two[0] = raised(two[0] + bias.x) + residual.x;
        two[1] = raised(two[1] + bias.y) + residual.y;
      }
    }
  }

  // Not fmaxf, which turns a NaN into 0.
  __device__ float raised(float x) const { return x < args_.floor ? args_.floor : x; }

  __device__ static Pair<T> packed(const float (&sums)[kCount], int half, int j) {
    return Pair<T>::of(make_float2(sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1]));
  }

  // Whether the thread's upper or lower row lies in out.
  __device__ bool within(int half) const { return kWhole || lane_ / 4 + half * 8 < rows_left_; }

  __device__ T* fragments(const Matrix& m) const { return place(m, row_ + lane_ / 4, column_ + lane_ % 4 * 2); }
  __device__ static T* place(const Matrix& m, int64_t row, int64_t column) {
    return static_cast<T*>(m.data) + row * m.stride + column;
  }
  // `left` may be negative: a warp whose rows all lie outside.
  __device__ static int clip(int64_t left, int most) {
    return left < 0 ? 0 : left < most ? static_cast<int>(left) : most;
  }

  const Sm90Epilogue& args_;
  const int64_t row_, column_;
  const int lane_, rows_left_, batches_;
};

}  // namespace zo2::cuda
