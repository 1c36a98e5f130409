#include "emulator/race.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>
#include <tuple>

#include "emulator/hooks.h"
#include "emulator/race_callbacks.h"
#include "emulator/race_clock.h"
#include "emulator/race_order.h"
#include "emulator/race_place.h"
#include "emulator/race_shadow.h"

namespace zo2::emu {
namespace race {
namespace {

// Who touches memory: a thread of the launch under way, a command (a copy, a memset, a host function), or the host.
struct Actor {
  Op op;
  const Thread* thread;  // null but for the first
  bool host;
};

// The command whose host function runs on this host thread.
thread_local Op function_op = 0;

// After so many reports a launch is given up: one mistake shows in every thread.
constexpr int kReportsPerLaunch = 4;
int reports_of_launch = 0;
std::set<std::tuple<std::string, Place, Place>>& reported() {
  static std::set<std::tuple<std::string, Place, Place>>& only = *new std::set<std::tuple<std::string, Place, Place>>;
  return only;
}

bool ordered(const Record& earlier, const Actor& actor) {
  if (actor.host) {
    return earlier.host || before_host(earlier.op);
  }
  if (earlier.host) {
    return actor.op > earlier.op;
  }
  if (earlier.op != actor.op) {
    return before(earlier.op, actor.op);
  }
  if (actor.thread == nullptr) {
    return true;
  }
  const Thread& thread = *actor.thread;
  return earlier.block == static_cast<uint32_t>(thread.block->linear) &&
         (earlier.thread == static_cast<uint32_t>(thread.linear) ||
          known_of(thread).clocks[earlier.thread] >= earlier.clock);
}

std::string describe(const Record& record) {
  if (record.host) {
    return "the host at " + describe_place(record.place);
  }
  std::string text = describe_op(record.op);
  if (record.place != 0) {
    text += ", block " + std::to_string(record.block) + " thread " + std::to_string(record.thread) + " at " +
            describe_place(record.place);
  }
  return text;
}

struct Access {
  Actor actor;
  uintptr_t address;
  size_t bytes;
  bool write;
  bool atomic;
  Place place;  // 0: of a command
};

Record record_of(const Access& access) {
  Record record;
  record.op = access.actor.op;
  record.place = access.place;
  record.atomic = access.atomic;
  record.host = access.actor.host;
  if (const Thread* const thread = access.actor.thread) {
    record.block = static_cast<uint32_t>(thread->block->linear);
    record.thread = thread->linear;
    record.clock = thread->race.clock;
  }
  return record;
}

// "write of 4 bytes at shared memory + 0x10".
std::string describe(const Access& access) {
  char text[160];
  const char* const what = access.atomic ? "atomic update" : access.write ? "write" : "read";
  if (in_shared(reinterpret_cast<const void*>(access.address))) {
    const Block* const block = access.actor.thread != nullptr ? access.actor.thread->block : nullptr;
    const size_t offset = block != nullptr ? access.address - reinterpret_cast<uintptr_t>(block->shared) : 0;
    std::snprintf(text, sizeof text, "%s of %zu bytes at shared memory + 0x%zx", what, access.bytes, offset);
  } else if (const Memory* const memory = find_memory(access.address)) {
    const char* const kind = memory->kind == Kind::kDevice   ? "device"
                             : memory->kind == Kind::kPinned ? "pinned"
                                                             : "registered";
    std::snprintf(text, sizeof text, "%s of %zu bytes at %s memory %p + 0x%zx (of 0x%zx)", what, access.bytes, kind,
                  reinterpret_cast<void*>(memory->begin), access.address - memory->begin, memory->end - memory->begin);
  } else {
    std::snprintf(text, sizeof text, "%s of %zu bytes at %p", what, access.bytes,
                  reinterpret_cast<void*>(access.address));
  }
  return text;
}

void tell(const char* kind, const Access& access, Place other, const std::string& text) {
  if (!reported().emplace(kind, access.place, other).second) {
    return;
  }
  const Where where = access.place != 0 ? resolve(access.place) : Where{"stream", 0};
  const std::string chain = access.place != 0 ? describe_place(access.place) : std::string();
  const std::string who = access.actor.host                ? " by the host"
                          : access.actor.thread == nullptr ? " by " + describe_op(access.actor.op)
                                                           : std::string();
  const std::string inlined = chain.find(" in ") != std::string::npos ? " (" + chain + ")" : std::string();
  report(kind, where, "%s%s%s %s", describe(access).c_str(), who.c_str(), inlined.c_str(), text.c_str());
  if (access.actor.thread != nullptr && access.actor.thread == current && ++reports_of_launch >= kReportsPerLaunch) {
    abandon();
  }
}

bool conflicts(const Record& earlier, const Access& access, uint32_t mask) {
  return (earlier.mask & mask) != 0 && !(access.atomic && earlier.atomic) && !ordered(earlier, access.actor);
}

void tell_race(const Record& earlier, bool write, const Access& access) {
  const bool within_launch = earlier.op == access.actor.op && !earlier.host && !access.actor.host;
  const char* const remedy = access.actor.host                             ? "the host has not waited for it"
                             : within_launch && earlier.clock == kInFlight ? "it was still under way"
                             : within_launch                               ? "no barrier orders them"
                                                                           : "no event or synchronisation orders them";
  tell("racecheck", access, earlier.place,
       std::string("races with the ") +
           (earlier.atomic ? "atomic update"
            : write        ? "write"
                           : "read") +
           " by " + describe(earlier) + ": " + remedy);
}

void keep_read(Cell& cell, const Record& record, const Access& access) {
  Record* const reads = cell.reads;
  for (int i = 0; i < 2; i++) {
    if (reads[i].mask == 0 || ordered(reads[i], access.actor)) {
      const uint32_t mask =
          record.mask | (reads[i].op == record.op && reads[i].thread == record.thread ? reads[i].mask : 0u);
      reads[i] = record;
      reads[i].mask = mask;
      return;
    }
  }
  // Of two that are alike, one is enough.
  const bool alike = reads[0].op == reads[1].op && reads[0].host == reads[1].host;
  const bool other_command = record.op != reads[1].op || record.host != reads[1].host;
  const bool same_warp = reads[0].block == reads[1].block && reads[0].thread / kLanes == reads[1].thread / kLanes;
  if (alike && (other_command || same_warp)) {
    reads[1] = record;
  }
}

// `shared`: the cells are those of a block's shared memory, where what another block or launch left does not count.
void check(const Access& access, Cell* cells, bool shared, bool needs_value) {
  Record record = record_of(access);
  bool told = false;
  const uintptr_t end = access.address + access.bytes;
  for (uintptr_t unit = access.address / kCellBytes; unit * kCellBytes < end; unit++, cells++) {
    const uintptr_t byte = unit * kCellBytes;
    const uint32_t mask = (byte >= access.address ? 1u : 0u) | (byte + 1 < end ? 2u : 0u);
    Cell& cell = *cells;
    record.mask = mask;
    if (shared) {
      const auto stale = [&](const Record& r) { return r.op != record.op || r.block != record.block; };
      if (cell.write.mask != 0 && stale(cell.write)) {
        cell.write = Record();
      }
      for (Record& read : cell.reads) {
        if (read.mask != 0 && stale(read)) {
          read = Record();
        }
      }
    }
    if (!told && !access.write && needs_value && cell.write.mask == 0) {
      tell("initcheck", access, 0, "that nothing has written");
      told = true;
    }
    if (!told && conflicts(cell.write, access, mask)) {
      tell_race(cell.write, true, access);
      told = true;
    }
    if (access.write) {
      for (int i = 0; i < 2 && !told; i++) {
        if (conflicts(cell.reads[i], access, mask)) {
          tell_race(cell.reads[i], false, access);
          told = true;
        }
      }
      // The other byte's writer is forgotten only when it cannot matter any more.
      if ((cell.write.mask & ~mask) == 0 || ordered(cell.write, access.actor)) {
        cell.write = record;
      }
      cell.reads[0] = cell.reads[1] = Record();
    } else {
      keep_read(cell, record, access);
    }
  }
}

// What lies outside may be inaccessible: the launch does not go on to find out.
void tell_outside(const Access& access, const std::string& text) {
  tell("memcheck", access, 0, text);
  if (access.actor.thread != nullptr && access.actor.thread == current) {
    abandon();
  }
}

void tell_unknown(const Access& access) {
  const Memory* const below = find_memory_below(access.address);
  constexpr uintptr_t kNear = 1 << 20;
  if (in_shared(reinterpret_cast<const void*>(access.address))) {
    tell_outside(access, "outside the block's shared memory");
  } else if (below != nullptr && access.address - below->end < kNear) {
    tell_outside(access, "starts " + std::to_string(access.address - below->end) +
                             " bytes past the end of an allocation of " + std::to_string(below->end - below->begin) +
                             " bytes");
  } else {
    tell_outside(access, "is no device, pinned or shared memory: a host pointer, or freed memory");
  }
}

void touch_by(const Access& access) {
  if (const Thread* const thread = access.actor.thread) {
    const Block& block = *thread->block;
    const uintptr_t offset = access.address - reinterpret_cast<uintptr_t>(block.shared);
    if (offset < kSharedRegion) {
      if (find_shared(block, reinterpret_cast<const void*>(access.address), access.bytes) == nullptr) {
        tell_outside(access, "outside the block's shared memory");
        return;
      }
      check(access, shared_cells(block.slot) + offset / kCellBytes, true, true);
      return;
    }
  }
  const Memory* const memory = find_memory(access.address);
  if (memory == nullptr) {
    tell_unknown(access);
    return;
  }
  if (access.address + access.bytes > memory->end) {
    tell_outside(access, "ends " + std::to_string(access.address + access.bytes - memory->end) +
                             " bytes past the end of its allocation");
    return;
  }
  check(access, cell_of(*memory, access.address), false,
        memory->kind == Kind::kDevice && access.actor.thread != nullptr);
}

void touch_by_command(uint64_t op, const void* address, size_t bytes, bool write) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  if (bytes == 0 || find_memory(begin) == nullptr) {
    const Memory* const below = find_memory_below(begin);
    if (below == nullptr || begin != below->end) {
      return;  // the host's own
    }
  }
  touch_by({{static_cast<Op>(op), nullptr, false}, begin, bytes, write, false, 0});
}

// A reader that finds nothing written would only read what was there before; a whole copy of nothing is a mistake.
bool any_written(const void* address, size_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  const Memory* const memory = find_memory(begin);
  if (memory == nullptr || memory->kind != Kind::kDevice) {
    return true;
  }
  const Cell* const cells = cell_of(*memory, begin);
  const size_t count = (std::min(begin + bytes, memory->end) - begin + kCellBytes - 1) / kCellBytes;
  return std::any_of(cells, cells + count, [](const Cell& cell) { return cell.write.mask != 0; });
}

// Of the last writes to shared memory, those by this thread at clock `from` become of clock `to`.
void set_write_clock(const Thread& thread, const void* address, size_t bytes, uint32_t from, uint32_t to) {
  const uintptr_t offset = static_cast<const char*>(address) - thread.block->shared;
  Cell* const cells = shared_cells(thread.block->slot) + offset / kCellBytes;
  for (size_t i = 0; i < bytes / kCellBytes; i++) {
    Record& write = cells[i].write;
    if (write.mask != 0 && write.op == static_cast<Op>(current_launch->op) &&
        write.block == static_cast<uint32_t>(thread.block->linear) &&
        write.thread == static_cast<uint32_t>(thread.linear) && write.clock == from) {
      write.clock = to;
    }
  }
}

}  // namespace

void access_as(Thread& thread, const void* address, size_t bytes, bool write, Where where) {
  touch_by({{static_cast<Op>(current_launch->op), &thread, false},
            reinterpret_cast<uintptr_t>(address),
            bytes,
            write,
            false,
            place_of(where)});
}

void write_is_under_way(Thread& thread, const void* address, size_t bytes) {
  set_write_clock(thread, address, bytes, thread.race.clock, kInFlight);
}

void write_has_landed(Thread& thread, const void* address, size_t bytes, uint32_t clock) {
  set_write_clock(thread, address, bytes, kInFlight, clock);
}

void kernel_access(uintptr_t address, size_t bytes, bool write, const void* return_address) {
  touch_by(
      {{static_cast<Op>(current_launch->op), current, false}, address, bytes, write, false, place_of(return_address)});
}

void kernel_touches_host(uintptr_t address, size_t bytes, bool write, const void* return_address) {
  tell_unknown(
      {{static_cast<Op>(current_launch->op), current, false}, address, bytes, write, false, place_of(return_address)});
}

void host_access(uintptr_t address, size_t bytes, bool write, const void* return_address) {
  const bool function = function_op != 0;
  reports_of_launch = 0;
  touch_by({{function ? function_op : last_op(), nullptr, !function},
            address,
            bytes,
            write,
            false,
            place_of(return_address)});
}

void set_function_op(Op op) { function_op = op; }

}  // namespace race

namespace hooks {

void launch_begins(const Launch&) {
  race::reports_of_launch = 0;
  race::reported().clear();
}

void launch_ends(const Launch& launch, bool) {
  race::reported().clear();
  race::command_is_done(static_cast<race::Op>(launch.op));
}

void access(const void* address, size_t bytes, bool write, bool atomic, Where where) {
  race::touch_by({{static_cast<race::Op>(current_launch->op), current, false},
                  reinterpret_cast<uintptr_t>(address),
                  bytes,
                  write,
                  atomic,
                  race::place_of(where)});
}

void copies(uint64_t op, void* destination, const void* source, size_t bytes) {
  race::reported().clear();
  race::touch_by_command(op, source, bytes, false);
  if (bytes > 0 && !race::any_written(source, bytes)) {
    report("initcheck", {"stream", 0}, "%s copies %zu bytes of device memory that nothing has written",
           race::describe_op(op).c_str(), bytes);
  }
  race::touch_by_command(op, destination, bytes, true);
  race::command_is_done(static_cast<race::Op>(op));
}

void device_reset() {
  race::forget_commands();
  race::forget_memory();
}

void host_function_touches(const void* address, size_t bytes, bool write) {
  race::reported().clear();
  race::touch_by_command(race::function_op, address, bytes, write);
}

void fills(uint64_t op, void* destination, size_t bytes) {
  race::reported().clear();
  race::touch_by_command(op, destination, bytes, true);
  race::command_is_done(static_cast<race::Op>(op));
}

}  // namespace hooks
}  // namespace zo2::emu
