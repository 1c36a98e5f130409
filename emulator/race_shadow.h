// Who touched each piece of memory last: one cell per 2 bytes of device, pinned, registered and shared memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/race_order.h"

namespace zo2::emu::race {

// One access. 18 bits of clock: a thread that passes more barriers in a launch stays at the last one, and orders more
// than it should.
struct Record {
  Op op = 0;
  uint32_t place = 0;  // race_place.h
  uint32_t block = 0;  // low bits of its number within the grid
  uint32_t mask : 2;   // which of the cell's bytes; 0: no access
  uint32_t atomic : 1;
  uint32_t host : 1;     // by the host, after command `op` was enqueued
  uint32_t thread : 10;  // within the block
  uint32_t clock : 18;

  Record() : mask(0), atomic(0), host(0), thread(0), clock(0) {}
};
static_assert(sizeof(Record) == 16, "three of them make a cell of 48 bytes");
constexpr uint32_t kLastClock = (1u << 18) - 2;
// The clock of a write that an asynchronous copy was told to make, and that has not landed: it happens before nothing.
constexpr uint32_t kInFlight = kLastClock + 1;

struct Cell {
  Record write;     // the last one
  Record reads[2];  // since then, of different commands or warps where there were any
};
constexpr size_t kCellBytes = 2;

enum class Kind { kDevice, kPinned, kRegistered };

struct Memory {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  Kind kind = Kind::kDevice;
  Cell* cells = nullptr;  // of the bytes from `begin` rounded down to a cell
};

inline Cell* cell_of(const Memory& memory, uintptr_t address) {
  return memory.cells + (address / kCellBytes - memory.begin / kCellBytes);
}

// The memory that holds `address`, or null: it is freed, or the host's own.
const Memory* find_memory(uintptr_t address);
// The nearest memory that ends at or before `address`, or null.
const Memory* find_memory_below(uintptr_t address);
// All memory is gone, and what was known of its accesses (cudaDeviceReset).
void forget_memory();
// The cells of a resident block's shared memory.
Cell* shared_cells(int block_slot);

}  // namespace zo2::emu::race
