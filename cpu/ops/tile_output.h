// A whole tile written where only a part of it has a place.
#pragma once

#include <string.h>

#include "contract/dtype.h"
#include "cpu/ops/prepare_tile.h"

namespace zo2::cpu {

// A place for a whole tile of `dtype` whose existing part belongs at `to`: that place itself, or a padded copy which
// `put` moves there.
class TileOutput {
 public:
  TileOutput(const Tile& tile, zo2_dtype dtype, unsigned char* to)
      : tile_(tile), size_(contract::dtype_bytes(dtype)), to_(to) {}
  unsigned char* place() { return to_ == nullptr || tile_.whole() ? to_ : padded_; }
  void put() const {
    if (to_ == nullptr || tile_.whole()) return;
    memcpy(to_, padded_ + tile_.begin * size_, (tile_.end - tile_.begin) * size_);
  }

 private:
  const Tile& tile_;
  uint64_t size_;
  unsigned char* to_;
  alignas(64) unsigned char padded_[kTile * sizeof(float)];
};

}  // namespace zo2::cpu
