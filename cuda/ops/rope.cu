#include "cuda/ops/rope.cuh"

#include <algorithm>

#include "cuda/ops/pack.cuh"

namespace zo2::cuda {
namespace {

constexpr int kMostThreads = 256;
constexpr int64_t kTable = 256;

struct Rotation {
  float cosine, sine;
};

// A pack of a and the pack of b that it is rotated with, `half` columns further on. Read before written, so that out
// may be x.
template <class Source, class Target>
__device__ void rotate(const Source* from, Target* to, int64_t half, int64_t count, bool vector_in, bool vector_out,
                       const Rotation* rotation) {
  float a[kPack], b[kPack];
  load_pack(from, count, vector_in, a);
  load_pack(from + half, count, vector_in, b);
#pragma unroll
  for (int i = 0; i < kPack; i++) {
    const Rotation r = i < count ? rotation[i] : Rotation{0.0f, 0.0f};
    const float before = a[i];
    a[i] = a[i] * r.cosine - b[i] * r.sine;
    b[i] = b[i] * r.cosine + before * r.sine;
  }
  store_pack(to, count, vector_out, a);
  store_pack(to + half, count, vector_out, b);
}

// One block a row: the angles of a row are the same in all its heads.
template <class Source, class Target>
__device__ void rope_row(const RopeArgs& args, bool vector_in, bool vector_out, Rotation (&table)[kTable]) {
  const int64_t row = blockIdx.x, half = args.rotary / 2, heads = args.out.cols / args.head_size;
  const Source* from = elements<Source>(args.x, row, 0);
  Target* to = elements<Target>(args.out, row, 0);
  const float position = static_cast<float>(*elements<const int32_t>(args.positions, row, 0));
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int64_t first = 0; first < half; first += kTable) {
    const int count = static_cast<int>(half - first < kTable ? half - first : kTable);
    __syncthreads();  // the table has been read by all
    for (int j = thread; j < count; j += threads) {
      float sine, cosine;
      sincosf(position * args.frequencies[first + j], &sine, &cosine);
      table[j] = {cosine * args.scaling, sine * args.scaling};
    }
    __syncthreads();
    const int packs = (count + kPack - 1) / kPack;
    for (int64_t i = thread; i < heads * packs; i += threads) {
      const int64_t head = i / packs;
      const int j = static_cast<int>(i - head * packs) * kPack;
      const int64_t col = head * args.head_size + first + j;
      rotate(from + col, to + col, half, count - j, vector_in, vector_out, table + j);
    }
  }
  if (args.out.data == args.x.data) return;
  const int64_t copied = args.head_size - args.rotary;
  for (int64_t i = thread; i < heads * copied; i += threads) {
    const int64_t col = i / copied * args.head_size + args.rotary + i % copied;
    to[col] = narrow<Target>(widen(from[col]));
  }
}

__global__ void __launch_bounds__(kMostThreads)
    rope_kernel(const uint32_t* poison, RopeArgs args, bool vector_in, bool vector_out) {
  if (*poison != 0) return;
  ZO2_SHARED_STATIC(Rotation[kTable], table);
  for_dtype(args.x.dtype, [&](auto source) {
    for_dtype(args.out.dtype,
              [&](auto target) { rope_row<decltype(source), decltype(target)>(args, vector_in, vector_out, table); });
  });
}

// Both packs of a pair are aligned when rows, heads and halves begin at 16 bytes.
bool pairs_aligned(const Matrix& m, const RopeArgs& args) {
  const int64_t bytes = dtype_bytes(m.dtype);
  return packs_aligned(m) && args.head_size * bytes % 16 == 0 && args.rotary / 2 * bytes % 16 == 0;
}

}  // namespace

cudaError_t launch_rope(const Launch& launch, const RopeArgs& args) {
  if (args.out.empty()) return cudaSuccess;
  const int64_t pairs = args.out.cols / args.head_size * packs_of(args.rotary / 2);
  const unsigned threads = static_cast<unsigned>(std::clamp<int64_t>((pairs + 31) / 32 * 32, 32, kMostThreads));
  return ZO2_LAUNCH(rope_kernel, dim3(static_cast<unsigned>(args.out.rows)), dim3(threads), 0, launch.stream,
                    launch.poison(), args, pairs_aligned(args.x, args), pairs_aligned(args.out, args));
}

}  // namespace zo2::cuda
