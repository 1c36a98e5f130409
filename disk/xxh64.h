// The hash of what is written to a file. It finds accidents, and no intent.
#pragma once

#include <cstdint>

namespace zo2::disk {

// XXH64 with the seed 0, as its specification has it (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
uint64_t xxh64(const uint8_t* bytes, uint64_t count);

}  // namespace zo2::disk
