// cp.async. The destination becomes NaN when the copy is issued and gets its data only when the thread waits: reading
// too early and reusing a buffer too early both show.
#include <cstring>

#include "cuda/instructions/cp_async.h"
#include "emulator/hooks.h"
#include "emulator/race.h"
#include "emulator/scheduler.h"

namespace zo2::emu {
namespace {

constexpr int kCopySize = 16;

void land(const AsyncCopy& copy) {
  touch(copy.destination, kCopySize, true, false, copy.where);
  memcpy(copy.destination, copy.source, copy.bytes);
  memset(static_cast<char*>(copy.destination) + copy.bytes, 0, kCopySize - copy.bytes);
}

}  // namespace

void async_copy(void* shared, const void* global, int bytes, Where where) {
  if (bytes < 0 || bytes > kCopySize) fail("cp.async", where, "%d bytes; 0 to 16 are possible", bytes);
  if (reinterpret_cast<uintptr_t>(shared) % kCopySize != 0 || reinterpret_cast<uintptr_t>(global) % kCopySize != 0) {
    fail("misaligned", where, "cp.async from %p to %p: both are multiples of 16", global, shared);
  }
  if (!in_shared(shared)) fail("address", where, "the destination %p of cp.async is not in shared memory", shared);
  if (bytes > 0) touch(global, bytes, false, false, where);
  touch(shared, kCopySize, true, false, where);
  if constexpr (kRace) race::write_is_under_way(*current, shared, kCopySize);
  memset(shared, 0xff, kCopySize);
  current->copies.push_back({shared, global, static_cast<uint32_t>(bytes), where});
}

void async_commit() { current->copy_groups.push_back(static_cast<uint32_t>(current->copies.size())); }

void async_wait(int groups_left) {
  Thread& me = *current;
  const int done = static_cast<int>(me.copy_groups.size()) - groups_left;
  if (done <= 0) return;
  const uint32_t landed = me.copy_groups[done - 1];
  for (uint32_t index = 0; index < landed; ++index) land(me.copies[index]);
  me.copies.erase(me.copies.begin(), me.copies.begin() + landed);
  me.copy_groups.erase(me.copy_groups.begin(), me.copy_groups.begin() + done);
  for (uint32_t& end : me.copy_groups) end -= landed;
}

}  // namespace zo2::emu
