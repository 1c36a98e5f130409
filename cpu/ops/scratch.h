// Working memory of one thread, kept from call to call so that ops do not allocate while they run. All sizes are those
// of blocks, never of whole operands.
#pragma once

#include <cstdint>
#include <memory>

namespace zo2::cpu {

// Who uses which piece; pieces of different names never overlap.
enum class Piece {
  kLeftPanels,   // the matrix product: packed or widened left block
  kRightPanels,  // the matrix product: packed or widened right block
  kTile,         // the result of one chunk of a matrix product
  kRow,          // an op's rows, widened
  kOtherRow,
  kBias,
  kGain,
  kAngles,
  kQueries,  // attention
  kKeys,
  kScores,
  kWeights,
  kValues,
  kAccumulator,
  kStatistics,
  kCount,
};

class Scratch {
 public:
  // The calling thread's.
  static Scratch& mine();

  // At least `floats` floats of undefined content, aligned to 64 bytes; valid until this thread asks for the same piece
  // again.
  float* take(Piece piece, int64_t floats);

 private:
  struct Slot {
    std::unique_ptr<float[]> memory;
    int64_t floats = 0;
  };
  Slot slots_[static_cast<int>(Piece::kCount)];
};

}  // namespace zo2::cpu
