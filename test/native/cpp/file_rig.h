// What tests of FILE buffers have in common: a folder with a device, files that the rig destroys, random bytes.
#pragma once

#include <string.h>

#include <cstdint>
#include <string>

#include "file_folders.h"
#include "random.h"
#include "rig.h"

namespace zo2::test {

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct World {
  const Folder& folder;
  zo2_device_options options;
};

// Calls `body` with a world in `plain` and one in a file system that knows neither direct I/O nor how to find room, if
// one can be had, where files are read with io_uring and where by threads.
template <typename Body>
void in_every_world(const Folder& plain, const Body& body) {
  const Folder simple("ramfs");
  CHECK(plain.usable());
  for (const uint32_t no_io_uring : {0u, 1u}) {
    zo2_device_options options = {};
    options.threads = 2;
    options.no_io_uring = no_io_uring;
    for (const Folder* folder : {&plain, &simple})
      if (folder->usable()) body(World{*folder, options});
  }
}

inline bool contains(const zo2_error& error, const std::string& text) {
  return strstr(error.message, text.c_str()) != nullptr;
}

inline zo2_status create(Rig& rig, const std::string& folder, uint64_t bytes, zo2_buffer** made) {
  const zo2_file_options options = {folder.c_str(), bytes};
  return rig.table->file_create(rig.device, &options, made, &rig.error);
}

// A file that the rig destroys.
inline zo2_buffer* file(Rig& rig, const World& world, uint64_t bytes) {
  zo2_buffer* made = nullptr;
  rig.ok(create(rig, world.folder.path(), bytes, &made));
  rig.keep(made);
  return made;
}

inline uint8_t* bytes_of(Rig& rig, zo2_buffer* buffer) {
  return static_cast<uint8_t*>(rig.table->buffer_host_pointer(buffer));
}

inline zo2_buffer* random_host(Rig& rig, uint64_t bytes, uint64_t seed) {
  zo2_buffer* const buffer = rig.buffer(ZO2_BUFFER_HOST, bytes);
  Random random(seed);
  for (uint64_t i = 0; i < bytes; ++i) bytes_of(rig, buffer)[i] = static_cast<uint8_t>(random.below(256));
  return buffer;
}

}  // namespace zo2::test
