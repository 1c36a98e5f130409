#include "disk/seal.h"

#include <cstring>

#include "disk/bounce.h"
#include "disk/move.h"
#include "disk/xxh64.h"

namespace zo2::disk {
namespace {

constexpr char kMagic[] = "zo2seal1";
constexpr uint64_t kIndexAt = 8, kBytesAt = 16, kChecksumAt = 24, kNoteAt = 32;
constexpr uint64_t kOwnChecksumAt = kNoteAt + ZO2_SEAL_NOTE_BYTES;

// Of a host that is little-endian, as every one that this is built for.
void put(uint8_t* block, uint64_t at, uint64_t value) { std::memcpy(block + at, &value, sizeof value); }

}  // namespace

void write_seal(Engine& engine, const File& file, const contract::SealCommand& command) {
  static_assert(ZO2_SEAL_BYTES == kBlock, "a seal has a block to itself");
  const Engine::Use use(engine);
  const Bounce block = make_bounce(kBlock);
  std::memset(block.get(), 0, kBlock);
  std::memcpy(block.get(), kMagic, kIndexAt);
  put(block.get(), kIndexAt, command.index);
  put(block.get(), kBytesAt, command.bytes);
  put(block.get(), kChecksumAt, xxh64(command.memory, command.bytes));
  std::memcpy(block.get() + kNoteAt, command.note, ZO2_SEAL_NOTE_BYTES);
  put(block.get(), kOwnChecksumAt, xxh64(block.get(), kOwnChecksumAt));
  move_bytes(engine, file, {command.file, command.offset, block.get(), kBlock, true});
}

}  // namespace zo2::disk
