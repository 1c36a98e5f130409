// What is said of FILE buffers beside their bytes: a name that stays, seals and their hash.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "disk/file.h"
#include "disk/xxh64.h"
#include "file_rig.h"

using zo2::test::bytes_of;
using zo2::test::contains;
using zo2::test::contents_of;
using zo2::test::create;
using zo2::test::file;
using zo2::test::Folder;
using zo2::test::in_every_world;
using zo2::test::random_host;
using zo2::test::Rig;
using zo2::test::World;

namespace {

// A seal is read here as zo2.h lays it out; the checksums are those of another library (test/native/files.test.ts).
void a_seal_says_what_lies_in_the_file(const World& world) {
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = file(rig, world, 5 * 4096);
  zo2_buffer* const host = random_host(rig, 8192, 4);
  zo2_buffer* const note = rig.buffer(ZO2_BUFFER_HOST, 64);
  zo2_gate* const gate = rig.gate();
  rig.ok(rig.table->stream_hold(stream, gate, &rig.error));
  rig.ok(rig.table->copy(stream, {kept, 0}, {host, 0}, 3 * 4096 - 4096, &rig.error));
  rig.ok(rig.table->seal(stream, {kept, 4 * 4096}, 7, {host, 1}, 5001, {note, 8}, &rig.error));
  // What the note says is read when the command runs.
  for (int i = 0; i < 24; ++i) bytes_of(rig, note)[8 + i] = static_cast<uint8_t>(100 + i);
  rig.table->gate_open(gate);
  const zo2_error end = rig.finish(stream);
  CHECK(end.status == ZO2_OK, "%s", end.message);
  const std::vector<uint8_t> all = contents_of(world.folder, 5 * 4096);
  const auto word = [&](uint64_t at) {
    uint64_t value = 0;
    memcpy(&value, all.data() + 4 * 4096 + at, sizeof value);
    return value;
  };
  CHECK(memcmp(all.data() + 4 * 4096, "zo2seal1", 8) == 0 && word(8) == 7 && word(16) == 5001);
  CHECK(memcmp(all.data() + 4 * 4096 + 32, bytes_of(rig, note) + 8, 24) == 0);
  CHECK(word(24) == zo2::disk::xxh64(bytes_of(rig, host) + 1, 5001));
  CHECK(word(56) == zo2::disk::xxh64(all.data() + 4 * 4096, 56));
  CHECK(std::all_of(all.begin() + 4 * 4096 + 64, all.end(), [](uint8_t byte) { return byte == 0; }));
  CHECK(std::all_of(all.begin() + 8192, all.begin() + 4 * 4096, [](uint8_t byte) { return byte == 0; }));
}

// Of lengths on both sides of its borders; the values are those of hash-wasm 4.
void the_hash_is_xxh64() {
  std::vector<uint8_t> bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 131 + (i >> 5));
  const struct {
    uint64_t count, hash;
  } known[] = {
      {0, 0xef46db3751d8e999u},  {1, 0xe934a84adb052768u},   {3, 0xa83378d1eb86ec62u},   {4, 0x9882e57ed36c4cfcu},
      {7, 0xf0aef407b44730f8u},  {8, 0xa5bc8d8944331fe7u},   {9, 0x17006424a894094au},   {31, 0x1add2d10328c4897u},
      {32, 0x333288d992cf3b16u}, {33, 0xc4de9c424fa52324u},  {36, 0x8bc3ba0eda4b9398u},  {63, 0x157c63fd6c7fa803u},
      {64, 0x8d946902d1d93bbbu}, {100, 0x22c16fff9b511166u}, {255, 0xe3aaa7afe5eec790u}, {1000, 0x3424f7da072be7f7u},
  };
  for (const auto& one : known) CHECK(zo2::disk::xxh64(bytes.data(), one.count) == one.hash, "%d", (int)one.count);
}

void a_file_that_is_given_a_name_stays(const World& world) {
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* kept = nullptr;
  rig.ok(create(rig, world.folder.path(), 4096, &kept));
  const std::string path = world.folder.of("named");
  CHECK(rig.table->file_link(kept, world.folder.of("no/such").c_str(), &rig.error) == ZO2_STATUS_IO &&
        contains(rig.error, "No such file or directory"));
  rig.ok(rig.table->file_link(kept, path.c_str(), &rig.error));
  CHECK(rig.table->file_link(kept, path.c_str(), &rig.error) == ZO2_STATUS_IO &&
            contains(rig.error, "File exists: " + path),
        "%s", rig.error.message);
  zo2_buffer* const host = random_host(rig, 4096, 5);
  rig.ok(rig.table->copy(stream, {kept, 0}, {host, 0}, 4096, &rig.error));
  CHECK(rig.finish(stream).status == ZO2_OK);
  rig.table->buffer_destroy(kept);
  std::vector<uint8_t> left(4097);
  const int descriptor = open(path.c_str(), O_RDONLY);
  CHECK(read(descriptor, left.data(), 4097) == 4096 && memcmp(left.data(), bytes_of(rig, host), 4096) == 0);
  close(descriptor);
  unlink(path.c_str());
  CHECK(rig.table->file_link(host, path.c_str(), &rig.error) == ZO2_STATUS_INVALID_ARGUMENT);
  CHECK(rig.table->file_link(nullptr, path.c_str(), &rig.error) == ZO2_STATUS_INVALID_ARGUMENT);
}

// Where a file system has no files without a name: made with one, which is gone at once and cannot be had again.
void a_file_that_had_a_name_gets_none(const World& world) {
  const int descriptor = zo2::disk::open_and_unlink(world.folder.path());
  CHECK(descriptor >= 0 && world.folder.empty());
  const std::string open_file = "/proc/self/fd/" + std::to_string(descriptor);
  CHECK(linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, world.folder.of("again").c_str(), AT_SYMLINK_FOLLOW) != 0);
  close(descriptor);
  CHECK(zo2::disk::open_and_unlink(world.folder.of("no/such")) < 0 && errno == ENOENT);
}

void all(const World& world) {
  a_seal_says_what_lies_in_the_file(world);
  a_file_that_is_given_a_name_stays(world);
  a_file_that_had_a_name_gets_none(world);
}

}  // namespace

int main() {
  const Folder plain;
  in_every_world(plain, all);
  the_hash_is_xxh64();
  return zo2::test::report();
}
