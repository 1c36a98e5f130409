#include "cpu/ops/scratch.h"

namespace zo2::cpu {

namespace {
constexpr int64_t kAlignFloats = 16;
}

Scratch& Scratch::mine() {
  static thread_local Scratch scratch;
  return scratch;
}

float* Scratch::take(Piece piece, int64_t floats) {
  Slot& slot = slots_[static_cast<int>(piece)];
  if (!slot.memory || slot.floats < floats) {
    slot.memory.reset();
    slot.floats = 0;
    slot.memory.reset(new float[static_cast<size_t>(floats + kAlignFloats)]);
    slot.floats = floats;
  }
  const uintptr_t address = reinterpret_cast<uintptr_t>(slot.memory.get());
  return slot.memory.get() + (64 - address % 64) % 64 / sizeof(float);
}

}  // namespace zo2::cpu
