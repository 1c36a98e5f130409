#include "cuda/ops/linear_mma.cuh"

#include "cuda/ops/linear_kernel.cuh"
#include "cuda/ops/product_mma.cuh"

namespace zo2::cuda {

namespace {

// What the driver keeps of a multiprocessor's shared memory for each block.
constexpr int kSharedPerBlock = 1 << 10;

template <class Product>
constexpr int kSharedOfTwo = 2 * (static_cast<int>(sizeof(LinearShared<Product>)) + kSharedPerBlock);
template <int kRing, int kSumRows>
using Widest = MmaProduct<ZO2_BF16, Mma128x128, Fetch::kAsync, Fetch::kAsync, kRing, kSumRows>;
static_assert(kSharedOfTwo<Widest<3, 64>> <= 100 << 10, "two blocks fit where a multiprocessor has least");
static_assert(kSharedOfTwo<MmaProduct<ZO2_BF16, Mma128x64, Fetch::kAsync, Fetch::kAsync>> <= 100 << 10);

template <zo2_dtype kType, Fetch kX, Fetch kWeight>
cudaError_t launch_tile(const Launch& launch, const LinearArgs& args, LinearTile tile) {
  switch (tile) {
    case LinearTile::k128x128:
      return choose_linear_stages(*launch.traits) == 3
                 ? launch_linear_product<MmaProduct<kType, Mma128x128, kX, kWeight, 3, 64>>(launch, args)
                 : launch_linear_product<MmaProduct<kType, Mma128x128, kX, kWeight, 4>>(launch, args);
    case LinearTile::k128x64:
      return launch_linear_product<MmaProduct<kType, Mma128x64, kX, kWeight>>(launch, args);
    default:
      return launch_linear_product<MmaProduct<kType, Mma64x64, kX, kWeight>>(launch, args);
  }
}

template <zo2_dtype kType>
cudaError_t launch_type(const Launch& launch, const LinearArgs& args, LinearTile tile) {
  if (!fetches_async(args.weight, kType)) {
    return launch_linear_product<MmaProduct<kType, Mma64x64, Fetch::kRegisters, Fetch::kRegisters>>(launch, args);
  }
  if (!fetches_async(args.x, kType)) return launch_tile<kType, Fetch::kRegisters, Fetch::kAsync>(launch, args, tile);
  return launch_tile<kType, Fetch::kAsync, Fetch::kAsync>(launch, args, tile);
}

}  // namespace

LinearTile choose_linear_tile(int64_t rows, int64_t columns, int multiprocessors) {
  struct Candidate {
    LinearTile tile;
    int64_t m, n;
    double cost;  // per element of out: small tiles read their operands more often
  };
  const Candidate candidates[] = {
      {LinearTile::k128x128, 128, 128, 1.0}, {LinearTile::k128x64, 128, 64, 1.15}, {LinearTile::k64x64, 64, 64, 1.4}};
  LinearTile best = LinearTile::k64x64;
  double least = -1;
  for (const Candidate& c : candidates) {
    const int64_t blocks = ((rows + c.m - 1) / c.m) * ((columns + c.n - 1) / c.n);
    const int64_t on_the_busiest = (blocks + multiprocessors - 1) / multiprocessors;
    const double time = static_cast<double>(on_the_busiest * c.m * c.n) * c.cost;
    if (least < 0 || time < least) {
      least = time;
      best = c.tile;
    }
  }
  return best;
}

int choose_linear_stages(const Traits& traits) {
  return kSharedOfTwo<Widest<4, 128>> <= traits.shared_per_multiprocessor ? 4 : 3;
}

cudaError_t launch_linear_mma(const Launch& launch, const LinearArgs& args, LinearTile tile) {
  switch (args.weight.dtype) {
    case ZO2_F16:
      return launch_type<ZO2_F16>(launch, args, tile);
    case ZO2_BF16:
      return launch_type<ZO2_BF16>(launch, args, tile);
    default:
      return launch_type<ZO2_F32>(launch, args, tile);
  }
}

cudaError_t launch_linear_mma(const Launch& launch, const LinearArgs& args) {
  return launch_linear_mma(launch, args,
                           choose_linear_tile(args.out.rows, args.out.cols, launch.traits->multiprocessors));
}

}  // namespace zo2::cuda
