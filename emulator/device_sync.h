// Barriers, votes and shuffles. Included by device.h alone. Each default argument names the line that calls.
#pragma once

namespace zo2::emu {

enum class Shuffle { kIndex, kUp, kDown, kXor };

void sync_block(Where where);
enum class BlockVote { kOr, kAnd, kCount };
int vote_block(BlockVote vote, int predicate, Where where);
void sync_warp(uint32_t mask, Where where);
uint32_t ballot(uint32_t mask, int predicate, Where where);
// `bytes` of `value` of the chosen lane go to `result`.
void shuffle(Shuffle kind, uint32_t mask, const void* value, void* result, size_t bytes, int argument, int width,
             Where where);
[[noreturn]] void trap(Where where);

template <class T>
inline T shuffled(Shuffle kind, uint32_t mask, T value, int argument, int width, Where where) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles take 2, 4 or 8 bytes");
  T result;
  shuffle(kind, mask, &value, &result, sizeof(T), argument, width, where);
  return result;
}

}  // namespace zo2::emu

inline void __syncthreads(zo2::emu::Where where = {}) { zo2::emu::sync_block(where); }
inline int __syncthreads_or(int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::vote_block(zo2::emu::BlockVote::kOr, predicate, where);
}
inline int __syncthreads_and(int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::vote_block(zo2::emu::BlockVote::kAnd, predicate, where);
}
inline int __syncthreads_count(int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::vote_block(zo2::emu::BlockVote::kCount, predicate, where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, zo2::emu::Where where = {}) { zo2::emu::sync_warp(mask, where); }
inline unsigned __ballot_sync(unsigned mask, int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::ballot(mask, predicate, where);
}
inline int __any_sync(unsigned mask, int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::ballot(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, zo2::emu::Where where = {}) {
  return zo2::emu::ballot(mask, !predicate, where) == 0;
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, zo2::emu::Where where = {}) {
  return zo2::emu::shuffled(zo2::emu::Shuffle::kIndex, mask, value, lane, width, where);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, zo2::emu::Where where = {}) {
  return zo2::emu::shuffled(zo2::emu::Shuffle::kUp, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, zo2::emu::Where where = {}) {
  return zo2::emu::shuffled(zo2::emu::Shuffle::kDown, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, zo2::emu::Where where = {}) {
  return zo2::emu::shuffled(zo2::emu::Shuffle::kXor, mask, value, lanes, width, where);
}

// Which lanes are active is not defined under independent thread scheduling: pass an explicit mask.
unsigned __activemask() = delete;

// Order among blocks is nothing a kernel may build on here; within a block barriers give it.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

[[noreturn]] inline void __trap(zo2::emu::Where where = {}) { zo2::emu::trap(where); }
