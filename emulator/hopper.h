// Hopper's instructions under the emulator; cuda/instructions/{mbarrier,tma,wgmma}.h wrap them, and say what they mean
// on the device. Each is checked as strictly as the manual allows: misuse that hardware would let pass as undefined is
// a report.
#pragma once

#include <cstdint>

#include "emulator/where.h"

namespace zo2::emu {

// Barriers are 8 bytes of shared memory; what they hold is the emulator's own.
void mbarrier_init(void* barrier, int count, Where where);
// `bytes`: that this arrival announces.
void mbarrier_arrive(void* barrier, int bytes, Where where);
bool mbarrier_try_wait(void* barrier, int parity, Where where);
void mbarrier_wait(void* barrier, int parity, Where where);

// Fills a CUtensorMap for tma_load_2d; the arguments were checked.
void tma_describe(void* map, const void* base, int64_t rows, int64_t columns, int64_t stride, int element_bytes,
                  int box_rows);
// Lands as late as anything can wait for it, or in random order at any time; the destination is NaN meanwhile.
void tma_load_2d(void* shared, const void* map, void* barrier, int row, int column, Where where);

enum class WgmmaElement { kF16, kBF16 };
uint64_t wgmma_descriptor(const void* tile, Where where);
void wgmma_fence(Where where);
// d[n / 2] of each thread is NaN from here to the wait.
void wgmma(float* d, int n, uint64_t a, uint64_t b, WgmmaElement element, bool accumulate, Where where);
void wgmma_commit(Where where);
void wgmma_wait(int running, Where where);

}  // namespace zo2::emu
