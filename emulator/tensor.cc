// ldmatrix and mma. Products are exact in fp32 (operands have at most 11 bits of mantissa); sums run over k in order,
// in fp32.
#include <cmath>
#include <cstring>
#include <utility>

#include "cuda/instructions/ldmatrix.h"
#include "cuda/instructions/mma.h"
#include "emulator/internal.h"

namespace zo2::emu {
namespace {

struct MatrixRow {
  const void* row;
  int matrices;
  bool transposed;
};

void complete_load(Collective& all) {
  const MatrixRow& first = *static_cast<const MatrixRow*>(all.in[0]);
  for (int lane = 1; lane < kLanes; ++lane) {
    const MatrixRow& other = *static_cast<const MatrixRow*>(all.in[lane]);
    if (other.matrices != first.matrices || other.transposed != first.transposed) {
      fail("synccheck", all.where, "lanes of a warp meet in different variants of ldmatrix");
    }
  }
  for (int matrix = 0; matrix < first.matrices; ++matrix) {
    uint16_t element[8][8];
    for (int row = 0; row < 8; ++row)
      memcpy(element[row], static_cast<const MatrixRow*>(all.in[matrix * 8 + row])->row, 16);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4;
      const int column = lane % 4 * 2;
      const uint32_t low = first.transposed ? element[column][row] : element[row][column];
      const uint32_t high = first.transposed ? element[column + 1][row] : element[row][column + 1];
      static_cast<uint32_t*>(all.out[lane])[matrix] = low | high << 16;
    }
  }
}

// All fp16 values as fp32.
const float* half_values() {
  static const float* values = [] {
    static float table[1 << 16];
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      __half_raw pattern;
      pattern.x = static_cast<uint16_t>(bits);
      table[bits] = __half2float(__half(pattern));
    }
    return table;
  }();
  return values;
}

float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

constexpr uint32_t kTf32Mask = 0xffffe000u;  // the hardware does not look at the other bits

// The two elements of a 16-bit register.
void widen(uint32_t bits, MatrixType type, float* low, float* high) {
  if (type == MatrixType::kF16) {
    *low = half_values()[bits & 0xffff];
    *high = half_values()[bits >> 16];
  } else {
    *low = from_bits(bits << 16);
    *high = from_bits(bits & 0xffff0000u);
  }
}

struct Operands {
  const uint32_t* a;
  const uint32_t* b;
};

struct Tile {
  float a[16][16];
  float b[16][8];
  float d[16][8];
};

// Both directions of the accumulator's fragments.
template <class Move>
void each_accumulator(Collective& all, Tile& tile, Move move) {
  for (int lane = 0; lane < kLanes; ++lane) {
    float* d = static_cast<float*>(all.out[lane]);
    const int row = lane / 4;
    const int column = lane % 4 * 2;
    move(d[0], tile.d[row][column]);
    move(d[1], tile.d[row][column + 1]);
    move(d[2], tile.d[row + 8][column]);
    move(d[3], tile.d[row + 8][column + 1]);
  }
}

void load_operands_16(Collective& all, MatrixType type, Tile& tile) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const Operands& mine = *static_cast<const Operands*>(all.in[lane]);
    const int group = lane / 4;
    const int pair = lane % 4 * 2;
    for (int index = 0; index < 4; ++index) {
      float* target = &tile.a[group + index % 2 * 8][pair + index / 2 * 8];
      widen(mine.a[index], type, target, target + 1);
    }
    for (int index = 0; index < 2; ++index) {
      const int k = pair + index * 8;
      widen(mine.b[index], type, &tile.b[k][group], &tile.b[k + 1][group]);
    }
  }
}

void load_operands_tf32(Collective& all, Tile& tile) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const Operands& mine = *static_cast<const Operands*>(all.in[lane]);
    const int group = lane / 4;
    const int k = lane % 4;
    for (int index = 0; index < 4; ++index)
      tile.a[group + index % 2 * 8][k + index / 2 * 4] = from_bits(mine.a[index] & kTf32Mask);
    for (int index = 0; index < 2; ++index) tile.b[k + index * 4][group] = from_bits(mine.b[index] & kTf32Mask);
  }
}

template <int kDepth>
void multiply(Tile& tile) {
  for (int row = 0; row < 16; ++row) {
    float sum[8];
    memcpy(sum, tile.d[row], sizeof sum);
    for (int k = 0; k < kDepth; ++k) {
      const float factor = tile.a[row][k];
      for (int column = 0; column < 8; ++column) sum[column] += factor * tile.b[k][column];
    }
    memcpy(tile.d[row], sum, sizeof sum);
  }
}

template <MatrixType kType>
void complete_multiply(Collective& all) {
  Tile tile;
  if constexpr (kType == MatrixType::kTf32) {
    load_operands_tf32(all, tile);
  } else {
    load_operands_16(all, kType, tile);
  }
  each_accumulator(all, tile, [](float& lane, float& element) { element = lane; });
  multiply<kType == MatrixType::kTf32 ? 8 : 16>(tile);
  each_accumulator(all, tile, [](float& lane, float& element) { lane = element; });
}

}  // namespace

void load_matrices(uint32_t* registers, int matrices, bool transposed, const void* row, Where where) {
  if (current->lane < 8 * matrices) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
      fail("misaligned", where, "the row %p of ldmatrix is not a multiple of 16", row);
    if (!in_shared(row)) fail("address", where, "the row %p of ldmatrix is not in shared memory", row);
    touch(row, 16, false, false, where);
  }
  const MatrixRow input{row, matrices, transposed};
  collective(0xffffffffu, kLoadMatrix, &input, registers, &complete_load, where);
}

void multiply_matrices(float* d, const uint32_t* a, const uint32_t* b, MatrixType type, Where where) {
  const Operands input{a, b};
  const Complete complete = type == MatrixType::kF16    ? &complete_multiply<MatrixType::kF16>
                            : type == MatrixType::kBf16 ? &complete_multiply<MatrixType::kBf16>
                                                        : &complete_multiply<MatrixType::kTf32>;
  collective(0xffffffffu, kMultiply + static_cast<int>(type), &input, d, complete, where);
}

uint32_t round_to_tf32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (!std::isfinite(value)) return std::isnan(value) ? 0x7fffffffu : bits;
  return (bits + 0x1000u) & kTf32Mask;  // half of the last kept bit: ties away from zero
}

}  // namespace zo2::emu
