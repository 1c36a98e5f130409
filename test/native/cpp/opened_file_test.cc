// FILE buffers over files that are there: read wherever they end, written by nobody.
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "file_rig.h"
#include "random.h"

using zo2::test::bytes_of;
using zo2::test::contains;
using zo2::test::Folder;
using zo2::test::in_every_world;
using zo2::test::kMiB;
using zo2::test::Random;
using zo2::test::Rig;
using zo2::test::World;

namespace {

// A file of random bytes in the folder, written without the code under test; gone with the object.
class Stored {
 public:
  Stored(const World& world, const char* name, uint64_t bytes) : path(world.folder.of(name)), content(bytes) {
    Random random(bytes);
    for (uint8_t& byte : content) byte = static_cast<uint8_t>(random.below(256));
    put(path, content);
  }
  ~Stored() { unlink(path.c_str()); }

  static void put(const std::string& path, const std::vector<uint8_t>& bytes) {
    const int descriptor = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(write(descriptor, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) &&
          close(descriptor) == 0);
  }

  const std::string path;
  std::vector<uint8_t> content;
};

// A buffer that the rig destroys.
zo2_buffer* opened(Rig& rig, const std::string& path) {
  zo2_buffer* made = nullptr;
  rig.ok(rig.table->file_open(rig.device, path.c_str(), &made, &rig.error));
  rig.keep(made);
  return made;
}

// Any bytes of it, up to the last, which lies inside a block but for the second.
void an_opened_file_is_read(const World& world) {
  for (const uint64_t bytes : {5 * kMiB + 123, 3 * kMiB, uint64_t{4097}, uint64_t{700}, uint64_t{1}, uint64_t{0}}) {
    const Stored stored(world, "stored", bytes);
    Rig rig(world.options);
    zo2_stream* const stream = rig.stream("s");
    zo2_buffer* const kept = opened(rig, stored.path);
    CHECK(rig.table->buffer_bytes(kept) == bytes && rig.table->buffer_host_pointer(kept) == nullptr);
    CHECK(rig.info().file_bytes == 0, "it takes no room");
    constexpr uint64_t kAround = 9000;
    zo2_buffer* const sink = rig.buffer(ZO2_BUFFER_HOST, bytes + 2 * kAround);
    std::vector<uint8_t> model(bytes + 2 * kAround);
    for (const uint64_t place : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, uint64_t{4096}, uint64_t{5000}}) {
      for (const uint64_t size : {bytes, bytes / 2, uint64_t{100001}, uint64_t{4096}, uint64_t{1}}) {
        for (const bool last : {false, true}) {
          if (place > bytes) continue;
          const uint64_t count = std::min(size, bytes - place);
          const uint64_t from = last ? bytes - count : place;
          for (const uint64_t shift : {uint64_t{0}, uint64_t{4096}, from % 4096, uint64_t{77}}) {
            rig.ok(rig.table->copy(stream, {sink, shift}, {kept, from}, count, &rig.error));
            const zo2_error end = rig.finish(stream);
            CHECK(end.status == ZO2_OK, "%s", end.message);
            std::copy_n(stored.content.begin() + static_cast<ptrdiff_t>(from), count,
                        model.begin() + static_cast<ptrdiff_t>(shift));
            CHECK(memcmp(bytes_of(rig, sink), model.data(), model.size()) == 0, "%d bytes at %d of %d to %d",
                  static_cast<int>(count), static_cast<int>(from), static_cast<int>(bytes), static_cast<int>(shift));
          }
        }
      }
    }
  }
}

void rows_of_an_opened_file_are_gathered(const World& world) {
  for (const uint64_t row_bytes : {uint64_t{24}, uint64_t{4096}, uint64_t{6144}}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{520}}) {
      constexpr uint64_t kRows = 100;
      const Stored stored(world, "rows", offset + kRows * row_bytes);
      Rig rig(world.options);
      zo2_stream* const stream = rig.stream("s");
      zo2_buffer* const table = opened(rig, stored.path);
      const std::vector<int32_t> list = {1099, 1000, 1057, 1099};
      zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, list.size() * row_bytes);
      rig.ok(rig.table->gather(stream, {out, 0}, {table, offset}, {rig.host(list), 0}, list.size(), 1000, row_bytes,
                               &rig.error));
      const zo2_error end = rig.finish(stream);
      CHECK(end.status == ZO2_OK, "%s", end.message);
      for (size_t i = 0; i < list.size(); ++i) {
        const uint64_t from = offset + static_cast<uint64_t>(list[i] - 1000) * row_bytes;
        CHECK(memcmp(bytes_of(rig, out) + i * row_bytes, stored.content.data() + from, row_bytes) == 0, "row %d of %d",
              static_cast<int>(list[i]), static_cast<int>(row_bytes));
      }
    }
  }
}

void an_opened_file_stays_the_one_it_was(const World& world) {
  const Stored stored(world, "replaced", kMiB + 9);
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = opened(rig, stored.path);
  unlink(stored.path.c_str());
  Stored::put(stored.path, std::vector<uint8_t>(2 * kMiB, 7));
  CHECK(rig.read<uint8_t>(stream, kept, kMiB + 9) == stored.content);
}

void an_opened_file_is_only_read(const World& world) {
  const Stored stored(world, "read only", 10000);
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = opened(rig, stored.path);
  zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, 10001);
  const auto refused = [&](zo2_status status, const char* text) {
    CHECK(status == ZO2_STATUS_INVALID_ARGUMENT && contains(rig.error, text), "status %d: %s, not %s",
          static_cast<int>(status), rig.error.message, text);
  };
  refused(rig.table->copy(stream, {kept, 0}, {host, 0}, 8, &rig.error),
          "copy: dst is a file that was opened to be read");
  refused(rig.table->copy(stream, {host, 0}, {kept, 0}, 10001, &rig.error),
          "copy: src needs 10001 bytes from offset 0 on, but its buffer has 10000");
  refused(rig.table->copy(stream, {host, 0}, {kept, 9999}, 2, &rig.error), "copy: src needs 2 bytes from offset 9999");
  refused(rig.table->seal(stream, {kept, 4096}, 0, {host, 0}, 8, {host, 0}, &rig.error),
          "seal: seal is a file that was opened to be read");
  refused(rig.table->file_link(kept, world.folder.of("another name").c_str(), &rig.error), "gets no name");
  CHECK(rig.read<uint8_t>(stream, kept, 10000) == stored.content, "nothing is poisoned, and nothing written");
}

void a_file_that_was_cut_after_it_was_opened_is_told(const World& world) {
  for (const uint64_t at : {uint64_t{0}, uint64_t{9000}, uint64_t{9990}}) {
    const Stored stored(world, "cut short", 10000);
    Rig rig(world.options);
    zo2_stream* const stream = rig.stream("s");
    zo2_buffer* const kept = opened(rig, stored.path);
    zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, 10000);
    CHECK(truncate(stored.path.c_str(), 5000) == 0);
    rig.ok(rig.table->copy(stream, {host, 0}, {kept, at}, 10000 - at, &rig.error));
    const zo2_error end = rig.finish(stream);
    CHECK(end.status == ZO2_STATUS_IO && contains(end, "the file ends there") && contains(end, stored.path),
          "status %d: %s", static_cast<int>(end.status), end.message);
  }
}

void files_that_cannot_be_opened_are_refused(const World& world) {
  Rig rig(world.options);
  zo2_buffer* made = nullptr;
  const auto open_it = [&](const std::string& path) {
    return rig.table->file_open(rig.device, path.c_str(), &made, &rig.error);
  };
  const std::string path = world.folder.of("pipe");
  CHECK(open_it(path) == ZO2_STATUS_IO && contains(rig.error, "No such file or directory: " + path), "%s",
        rig.error.message);
  CHECK(open_it(world.folder.path()) == ZO2_STATUS_IO && contains(rig.error, "it is no regular file"));
  CHECK(mkfifo(path.c_str(), 0600) == 0 && open_it(path) == ZO2_STATUS_IO &&
        contains(rig.error, "it is no regular file: " + path));
  unlink(path.c_str());
  CHECK(open_it("") == ZO2_STATUS_INVALID_ARGUMENT && contains(rig.error, "path is empty"));
  CHECK(rig.table->file_open(rig.device, nullptr, &made, &rig.error) == ZO2_STATUS_INVALID_ARGUMENT);
  CHECK(made == nullptr && rig.info().file_bytes == 0);
  // As the Hub's cache has them.
  const Stored stored(world, "blob", 5000);
  CHECK(symlink(stored.path.c_str(), path.c_str()) == 0);
  zo2_stream* const stream = rig.stream("s");
  CHECK(rig.read<uint8_t>(stream, opened(rig, path), 5000) == stored.content);
  unlink(path.c_str());
}

}  // namespace

int main() {
  const Folder plain;
  in_every_world(plain, [](const World& world) {
    an_opened_file_is_read(world);
    rows_of_an_opened_file_are_gathered(world);
    an_opened_file_stays_the_one_it_was(world);
    a_file_that_was_cut_after_it_was_opened_is_told(world);
  });
  an_opened_file_is_only_read({plain, {}});
  files_that_cannot_be_opened_are_refused({plain, {}});
  return zo2::test::report();
}
