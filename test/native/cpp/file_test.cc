// FILE buffers: files made and gone, copies from and to them, rows gathered from them, what fails and how.
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "disk/file.h"
#include "file_rig.h"
#include "random.h"
#include "rig.h"

using zo2::test::bytes_of;
using zo2::test::contains;
using zo2::test::contents_of;
using zo2::test::create;
using zo2::test::file;
using zo2::test::Folder;
using zo2::test::in_every_world;
using zo2::test::kMiB;
using zo2::test::Notified;
using zo2::test::open_nameless;
using zo2::test::Random;
using zo2::test::random_host;
using zo2::test::Rig;
using zo2::test::World;

namespace {

void a_file_is_there_for_its_buffer_alone(const World& world) {
  Rig rig(world.options);
  constexpr uint64_t kBytes = 3 * kMiB + 5;
  const std::string& path = world.folder.path();
  zo2_buffer* buffer = nullptr;
  rig.ok(create(rig, path, kBytes, &buffer));
  CHECK(world.folder.empty(), "it has no name");
  CHECK(rig.table->buffer_bytes(buffer) == kBytes && rig.table->buffer_host_pointer(buffer) == nullptr);
  CHECK(rig.info().file_bytes == kBytes && rig.info().host_bytes == 0 && rig.info().device_bytes == 0);
  const int descriptor = open_nameless(world.folder);
  struct stat about{};
  CHECK(descriptor >= 0 && fstat(descriptor, &about) == 0);
  CHECK(about.st_nlink == 0 && (about.st_mode & 07777) == 0600 && static_cast<uint64_t>(about.st_size) >= kBytes);
  if (descriptor >= 0) close(descriptor);
  CHECK(contents_of(world.folder, kBytes) == std::vector<uint8_t>(kBytes), "it is zeroed");
  // One beside it.
  zo2_buffer* second = nullptr;
  rig.ok(create(rig, path, 0, &second));
  CHECK(rig.table->buffer_bytes(second) == 0);
  rig.table->buffer_destroy(second);
  rig.table->buffer_destroy(buffer);
  CHECK(open_nameless(world.folder) < 0, "it is closed");
  CHECK(rig.info().file_bytes == 0);
}

// Copies of all kinds in a row, against a model in memory. `far`: bytes of the file that no copy reaches alone.
void copies_move_the_bytes_they_name_and_no_other(const World& world) {
  constexpr uint64_t kBytes = 5 * kMiB + 123;
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = file(rig, world, kBytes);
  zo2_buffer* const source = random_host(rig, kBytes, 1);
  zo2_buffer* const sink = rig.buffer(ZO2_BUFFER_HOST, kBytes);
  std::vector<uint8_t> model(kBytes);
  Random random(2);
  const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 100001, kMiB, 3 * kMiB + 5};
  const uint64_t places[] = {0, 1, 511, 512, 4095, 4096, 5000, 12288};
  for (const uint64_t size : sizes) {
    for (const uint64_t place : places) {
      for (const uint64_t shift : {uint64_t{0}, uint64_t{4096}, static_cast<uint64_t>(random.below(9000))}) {
        const uint64_t from = (place + shift) % 16384;
        rig.ok(rig.table->copy(stream, {kept, place}, {source, from}, size, &rig.error));
        memcpy(model.data() + place, bytes_of(rig, source) + from, size);
        // Back to another place: only these bytes of the sink change.
        rig.ok(rig.table->copy(stream, {sink, from}, {kept, place}, size, &rig.error));
        rig.ok(rig.table->fill(stream, {sink, from + size}, 0, size == 0 ? 0 : 1, &rig.error));
        const zo2_error end = rig.finish(stream);
        CHECK(end.status == ZO2_OK, "%s", end.message);
        CHECK(memcmp(bytes_of(rig, sink) + from, model.data() + place, size) == 0, "%d bytes at %d",
              static_cast<int>(size), static_cast<int>(place));
        bool zero = true;
        for (uint64_t i = 0; i < from; ++i) zero = zero && bytes_of(rig, sink)[i] == 0;
        for (uint64_t i = from + size; i < kBytes; i += i < from + size + 9000 ? 1 : 4093)
          zero = zero && bytes_of(rig, sink)[i] == 0;
        CHECK(zero, "%d bytes at %d touch others in memory", static_cast<int>(size), static_cast<int>(place));
        memset(bytes_of(rig, sink) + from, 0, size);
      }
    }
  }
  // The last bytes of a file that ends inside a block.
  rig.ok(rig.table->copy(stream, {kept, kBytes - 5000}, {source, 7}, 5000, &rig.error));
  memcpy(model.data() + kBytes - 5000, bytes_of(rig, source) + 7, 5000);
  CHECK(rig.finish(stream).status == ZO2_OK);
  CHECK(contents_of(world.folder, kBytes) == model, "what the file system has");
  CHECK(rig.read<uint8_t>(stream, kept, kBytes) == model, "all of it in one copy");
}

void long_copies_take_many_pieces(const World& world) {
  constexpr uint64_t kBytes = 24 * kMiB + 4096 + 77;
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = file(rig, world, kBytes);
  zo2_buffer* const source = random_host(rig, kBytes, 3);
  zo2_buffer* const sink = rig.buffer(ZO2_BUFFER_HOST, kBytes);
  // In memory at the same distance from a block as in the file, and at another one.
  for (const uint64_t at : {uint64_t{0}, uint64_t{33}}) {
    rig.ok(rig.table->copy(stream, {kept, at}, {source, 0}, kBytes - 4096, &rig.error));
    rig.ok(rig.table->copy(stream, {sink, at}, {kept, at}, kBytes - 4096, &rig.error));
    CHECK(rig.finish(stream).status == ZO2_OK);
    CHECK(memcmp(bytes_of(rig, sink) + at, bytes_of(rig, source), kBytes - 4096) == 0, "at %d", static_cast<int>(at));
    const std::vector<uint8_t> stored = contents_of(world.folder, kBytes);
    CHECK(stored.size() == kBytes && memcmp(stored.data() + at, bytes_of(rig, source), kBytes - 4096) == 0);
  }
}

void gather_reads_rows(const World& world) {
  for (const uint64_t row_bytes : {uint64_t{1}, uint64_t{24}, uint64_t{4096}, uint64_t{6144}, uint64_t{8192}}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{40}, uint64_t{4096}}) {
      constexpr uint64_t kRows = 300;
      constexpr int64_t kBase = 1000;
      const uint64_t bytes = offset + kRows * row_bytes;
      Rig rig(world.options);
      zo2_stream* const stream = rig.stream("s");
      zo2_buffer* const table = file(rig, world, bytes);
      zo2_buffer* const source = random_host(rig, bytes, row_bytes);
      std::vector<int32_t> list = {1299, 1000, 1299, 1001};
      Random random(row_bytes);
      for (int i = 0; i < 120; ++i) list.push_back(static_cast<int32_t>(kBase + random.below(kRows)));
      zo2_buffer* const rows = rig.host(list);
      zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, list.size() * row_bytes + 8);
      rig.ok(rig.table->copy(stream, {table, 0}, {source, 0}, bytes, &rig.error));
      rig.ok(
          rig.table->gather(stream, {out, 4}, {table, offset}, {rows, 0}, list.size(), kBase, row_bytes, &rig.error));
      const zo2_error end = rig.finish(stream);
      CHECK(end.status == ZO2_OK, "%s", end.message);
      for (size_t i = 0; i < list.size(); ++i) {
        const uint64_t from = offset + static_cast<uint64_t>(list[i] - kBase) * row_bytes;
        CHECK(memcmp(bytes_of(rig, out) + 4 + i * row_bytes, bytes_of(rig, source) + from, row_bytes) == 0,
              "row %d of %d bytes", static_cast<int>(i), static_cast<int>(row_bytes));
      }
      CHECK(bytes_of(rig, out)[3] == 0 && bytes_of(rig, out)[4 + list.size() * row_bytes] == 0);
      // Rows of a multiple of a block, to the start of a buffer.
      rig.ok(rig.table->gather(stream, {out, 0}, {table, offset}, {rows, 0}, 3, kBase, row_bytes, &rig.error));
      rig.ok(rig.table->gather(stream, {out, 0}, {table, offset}, {rows, 0}, 0, kBase, row_bytes, &rig.error));
      CHECK(rig.finish(stream).status == ZO2_OK);
      CHECK(memcmp(bytes_of(rig, out), bytes_of(rig, source) + offset + 299 * row_bytes, row_bytes) == 0);
    }
  }
}

// A row longer than what passes through memory of the engine's own at a time.
void gather_reads_long_rows(const World& world) {
  constexpr uint64_t kRow = 9 * kMiB + 3;
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const table = file(rig, world, 2 * kRow);
  zo2_buffer* const source = random_host(rig, 2 * kRow, 5);
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{1, 0});
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 2 * kRow);
  rig.ok(rig.table->copy(stream, {table, 0}, {source, 0}, 2 * kRow, &rig.error));
  rig.ok(rig.table->gather(stream, {out, 0}, {table, 0}, {rows, 0}, 2, 0, kRow, &rig.error));
  CHECK(rig.finish(stream).status == ZO2_OK);
  CHECK(memcmp(bytes_of(rig, out), bytes_of(rig, source) + kRow, kRow) == 0);
  CHECK(memcmp(bytes_of(rig, out) + kRow, bytes_of(rig, source), kRow) == 0);
}

void gather_names_a_row_that_is_not_there(const World& world) {
  for (const int32_t row : {-1, 9, 15}) {
    Rig rig(world.options);
    zo2_stream* const stream = rig.stream("s");
    zo2_buffer* const table = file(rig, world, 50);
    zo2_buffer* const rows = rig.host(std::vector<int32_t>{10, row});
    zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 20);
    bytes_of(rig, out)[0] = 9;
    rig.ok(rig.table->gather(stream, {out, 0}, {table, 0}, {rows, 0}, 2, 10, 10, &rig.error));
    const zo2_error end = rig.finish(stream);
    CHECK(end.status == ZO2_STATUS_INVALID_ARGUMENT, "%d", static_cast<int>(end.status));
    CHECK(contains(end, "stream \"s\": gather: rows[1] is " + std::to_string(row) +
                            ", but the source holds 5 rows from row 10 on"),
          "%s", end.message);
    CHECK(bytes_of(rig, out)[0] == 9, "nothing is read before all rows are looked at");
  }
}

// Streams that write into the same blocks, each its own bytes.
void streams_share_blocks(const World& world) {
  constexpr uint64_t kStreams = 4;
  constexpr uint64_t kPart = 1000;
  constexpr uint64_t kRounds = 40;
  constexpr uint64_t kBytes = kStreams * kPart * kRounds;
  Rig rig(world.options);
  zo2_buffer* const kept = file(rig, world, kBytes);
  zo2_buffer* const source = random_host(rig, kBytes, 11);
  zo2_buffer* const sink = rig.buffer(ZO2_BUFFER_HOST, kBytes);
  std::vector<zo2_stream*> streams;
  for (uint64_t s = 0; s < kStreams; ++s) streams.push_back(rig.stream("s"));
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (uint64_t s = 0; s < kStreams; ++s) {
      const uint64_t at = (round * kStreams + s) * kPart;
      rig.ok(rig.table->copy(streams[s], {kept, at}, {source, at}, kPart, &rig.error));
      rig.ok(rig.table->copy(streams[s], {sink, at}, {kept, at}, kPart, &rig.error));
    }
  }
  for (zo2_stream* stream : streams) CHECK(rig.finish(stream).status == ZO2_OK);
  CHECK(memcmp(bytes_of(rig, sink), bytes_of(rig, source), kBytes) == 0, "each finds its own bytes");
  const std::vector<uint8_t> stored = contents_of(world.folder, kBytes);
  CHECK(stored.size() == kBytes && memcmp(stored.data(), bytes_of(rig, source), kBytes) == 0);
}

// Several long copies at once.
void streams_move_large_pieces_side_by_side(const World& world) {
  constexpr uint64_t kStreams = 3;
  constexpr uint64_t kBytes = 6 * kMiB;
  Rig rig(world.options);
  zo2_buffer* const kept = file(rig, world, kStreams * kBytes);
  zo2_buffer* const source = random_host(rig, kStreams * kBytes, 12);
  zo2_buffer* const sink = rig.buffer(ZO2_BUFFER_HOST, kStreams * kBytes);
  std::vector<zo2_stream*> streams;
  for (uint64_t s = 0; s < kStreams; ++s) streams.push_back(rig.stream("s"));
  for (uint64_t s = 0; s < kStreams; ++s) {
    const uint64_t at = s * kBytes;
    rig.ok(rig.table->copy(streams[s], {kept, at}, {source, at}, kBytes, &rig.error));
    rig.ok(rig.table->copy(streams[s], {sink, at}, {kept, at}, kBytes, &rig.error));
  }
  for (zo2_stream* stream : streams) CHECK(rig.finish(stream).status == ZO2_OK);
  CHECK(memcmp(bytes_of(rig, sink), bytes_of(rig, source), kStreams * kBytes) == 0);
}

// What one stream writes, another reads: by events alone, whatever the delays.
void events_order_files(const World& world) {
  constexpr int kRounds = 60;
  World delayed = world;
  delayed.options.delay_microseconds = 200;
  delayed.options.delay_seed = 4;
  Rig rig(delayed.options);
  zo2_stream* const computing = rig.stream("computing");
  zo2_stream* const writing = rig.stream("writing");
  zo2_stream* const reading = rig.stream("reading");
  zo2_event* const computed = rig.event();
  zo2_event* const written = rig.event();
  zo2_event* const read = rig.event();
  zo2_buffer* const cell = rig.buffer(ZO2_BUFFER_HOST, 8192);
  zo2_buffer* const kept = file(rig, world, 8192);
  zo2_buffer* const log = rig.buffer(ZO2_BUFFER_HOST, kRounds * 8192);
  for (int k = 0; k < kRounds; ++k) {
    if (k > 0) rig.ok(rig.table->stream_wait(computing, written, &rig.error));
    rig.ok(rig.table->fill(computing, {cell, 0}, static_cast<uint8_t>(k + 1), 8192, &rig.error));
    rig.ok(rig.table->stream_record(computing, computed, &rig.error));
    rig.ok(rig.table->stream_wait(writing, computed, &rig.error));
    if (k > 0) rig.ok(rig.table->stream_wait(writing, read, &rig.error));
    rig.ok(rig.table->copy(writing, {kept, 0}, {cell, 0}, 8192, &rig.error));
    rig.ok(rig.table->stream_record(writing, written, &rig.error));
    rig.ok(rig.table->stream_wait(reading, written, &rig.error));
    rig.ok(rig.table->copy(reading, {log, static_cast<uint64_t>(k) * 8192}, {kept, 0}, 8192, &rig.error));
    rig.ok(rig.table->stream_record(reading, read, &rig.error));
  }
  CHECK(rig.finish(reading).status == ZO2_OK);
  for (int k = 0; k < kRounds; ++k) {
    for (const int at : {0, 5000, 8191}) CHECK(bytes_of(rig, log)[k * 8192 + at] == k + 1, "round %d, byte %d", k, at);
  }
}

// What is not for files is refused when it is enqueued, with the reason, and poisons nothing.
void other_uses_are_refused(const World& world) {
  Rig rig(world.options);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const kept = file(rig, world, 4096);
  zo2_buffer* const other = file(rig, world, 4096);
  zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, 4096);
  zo2_buffer* const device = rig.buffer(ZO2_BUFFER_DEVICE, 4096);
  const auto refused = [&](zo2_status status, const char* text) {
    CHECK(status == ZO2_STATUS_INVALID_ARGUMENT && contains(rig.error, text), "status %d: %s, not %s",
          static_cast<int>(status), rig.error.message, text);
  };
  const zo2_span span = {kept, 0};
  refused(rig.table->copy(stream, {device, 0}, span, 8, &rig.error),
          "copy: dst is a device buffer, but must be host memory");
  refused(rig.table->copy(stream, span, {device, 0}, 8, &rig.error),
          "copy: src is a device buffer, but must be host memory");
  refused(rig.table->copy(stream, span, {other, 0}, 8, &rig.error),
          "copy: src is a file buffer, but must be host memory");
  refused(rig.table->copy(stream, span, {host, 0}, 4097, &rig.error), "copy: dst needs 4097 bytes from offset 0 on");
  refused(rig.table->copy(stream, {host, 4000}, span, 97, &rig.error), "copy: dst needs 97 bytes from offset 4000 on");
  refused(rig.table->copy(stream, {kept, 4097}, {host, 0}, 0, &rig.error), "copy: dst needs 0 bytes from offset 4097");
  refused(rig.table->copy(stream, {nullptr, 0}, span, 8, &rig.error), "copy: dst is none");
  refused(rig.table->fill(stream, span, 0, 8, &rig.error), "fill: dst is a file buffer, which only copies");
  refused(rig.table->gather(stream, span, {host, 0}, {host, 0}, 1, 0, 4, &rig.error),
          "gather: dst is a file buffer, which only copies");
  refused(rig.table->gather(stream, {device, 0}, span, {host, 0}, 1, 0, 4, &rig.error),
          "gather: dst is a device buffer, but must be host memory");
  refused(rig.table->gather(stream, {host, 0}, span, {other, 0}, 1, 0, 4, &rig.error),
          "gather: rows is a file buffer, but must be host memory");
  refused(rig.table->gather(stream, {host, 0}, span, {host, 8}, 1, 0, 0, &rig.error), "gather: row_bytes is 0");
  zo2_buffer* const wide = file(rig, world, 8192);
  const auto seal = [&](const zo2_span& at, const zo2_span& memory, uint64_t bytes, const zo2_span& note) {
    return rig.table->seal(stream, at, 0, memory, bytes, note, &rig.error);
  };
  refused(seal({host, 0}, {host, 0}, 8, {host, 0}), "seal: seal is a host buffer, but must be a file");
  refused(seal({wide, 8}, {host, 0}, 8, {host, 0}), "seal: seal starts at offset 8, which is no multiple of 4096");
  refused(seal({kept, 4096}, {host, 0}, 8, {host, 0}), "seal: seal needs 4096 bytes from offset 4096 on");
  refused(seal(span, {device, 0}, 8, {host, 0}), "seal: memory is a device buffer, but must be host memory");
  refused(seal(span, {host, 0}, 4097, {host, 0}), "seal: memory needs 4097 bytes from offset 0 on");
  refused(seal(span, {host, 0}, 8, {other, 0}), "seal: note is a file buffer, but must be host memory");
  refused(seal(span, {host, 0}, 8, {host, 4073}), "seal: note needs 24 bytes from offset 4073 on");
  zo2_prepare_args prepare = {};
  zo2_segment segment = {};
  segment.count = 4;
  prepare.layout = rig.layout({segment});
  prepare.wire = span;
  refused(rig.table->prepare(stream, &prepare, &rig.error),
          "prepare: wire is a file buffer, but must be device memory");
  zo2_loss_args loss = {};
  loss.values = {device, 0};
  loss.targets = 1;
  loss.losses = span;
  refused(rig.table->loss(stream, &loss, &rig.error), "loss: losses is a file buffer, but must be device memory");
  Rig second(world.options);
  zo2_stream* const strange = second.stream("s");
  CHECK(second.table->copy(strange, {second.buffer(ZO2_BUFFER_HOST, 8), 0}, span, 8, &rig.error) ==
            ZO2_STATUS_INVALID_ARGUMENT &&
        contains(rig.error, "copy: src is a buffer of another device"));
  CHECK(rig.finish(stream).status == ZO2_OK);
}

void files_that_cannot_be_made_are_refused(const World& world) {
  Rig rig(world.options);
  zo2_buffer* made = nullptr;
  const std::string there = world.folder.of("there");
  const int descriptor = open(there.c_str(), O_CREAT | O_WRONLY, 0600);
  CHECK(descriptor >= 0 && close(descriptor) == 0);
  CHECK(create(rig, there, 8, &made) == ZO2_STATUS_IO && contains(rig.error, "Not a directory: " + there), "%s",
        rig.error.message);
  unlink(there.c_str());
  const std::string missing = world.folder.of("no/such");
  CHECK(create(rig, missing, 8, &made) == ZO2_STATUS_IO && contains(rig.error, "No such file or directory: " + missing),
        "%s", rig.error.message);
  CHECK(create(rig, std::string(5000, 'x'), 8, &made) == ZO2_STATUS_IO && contains(rig.error, "too long"));
  CHECK(create(rig, "", 8, &made) == ZO2_STATUS_INVALID_ARGUMENT && contains(rig.error, "folder is empty"));
  CHECK(rig.table->file_create(rig.device, nullptr, &made, &rig.error) == ZO2_STATUS_INVALID_ARGUMENT &&
        contains(rig.error, "options is null"));
  for (const uint64_t bytes : {UINT64_MAX, UINT64_MAX - 4096, uint64_t{1} << 62}) {
    CHECK(create(rig, world.folder.path(), bytes, &made) == ZO2_STATUS_OUT_OF_MEMORY &&
              contains(rig.error, "a file of " + std::to_string(bytes) + " bytes was asked for"),
          "%s", rig.error.message);
  }
  CHECK(made == nullptr && world.folder.empty() && open_nameless(world.folder) < 0, "nothing is left");
  CHECK(rig.info().file_bytes == 0);
}

void a_file_system_without_room_is_told() {
  const Folder small("tmpfs", "size=1m");
  if (!small.usable()) return;
  Rig rig;
  zo2_buffer* made = nullptr;
  CHECK(create(rig, small.path(), 2 * kMiB, &made) == ZO2_STATUS_OUT_OF_MEMORY);
  CHECK(contains(rig.error,
                 "a file of 2097152 bytes was asked for, but 1048576 are free there (No space left on device)") &&
            contains(rig.error, small.path()),
        "%s", rig.error.message);
  CHECK(made == nullptr && small.empty());
  rig.ok(create(rig, small.path(), kMiB, &made));
  rig.keep(made);
  const Folder sealed("tmpfs", "size=1m");
  CHECK(mount("none", sealed.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  CHECK(create(rig, sealed.path(), 8, &made) == ZO2_STATUS_IO && contains(rig.error, "Read-only file system"), "%s",
        rig.error.message);
}

// Limits the size of files of this process while it lives.
class SizeLimit {
 public:
  explicit SizeLimit(uint64_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// Which ends a process that passes it, unless it is careful.
void the_size_limit_of_the_process_is_told(const World& world) {
  Rig rig(world.options);
  const SizeLimit limit(kMiB);
  zo2_buffer* made = nullptr;
  CHECK(create(rig, world.folder.path(), 2 * kMiB, &made) == ZO2_STATUS_OUT_OF_MEMORY &&
            contains(rig.error, "1048576 into one (ulimit -f)"),
        "%s", rig.error.message);
  CHECK(made == nullptr && world.folder.empty());
}

struct Broken {
  explicit Broken(const World& world) : rig(world.options), folder(world.folder), kept(file(rig, world, 4 * kMiB)) {}

  // Cuts the file that lies behind the buffer, as nobody should.
  void cut(uint64_t bytes) {
    const int descriptor = open_nameless(folder);
    CHECK(descriptor >= 0 && ftruncate(descriptor, static_cast<off_t>(bytes)) == 0);
    close(descriptor);
  }

  Rig rig;
  const Folder& folder;
  zo2_buffer* const kept;
};

// `large`: a copy of many pieces, and not of a part of a block.
void a_read_that_fails_poisons_the_stream(const World& world, bool large) {
  Broken broken(world);
  Rig& rig = broken.rig;
  broken.cut(2 * kMiB);
  zo2_stream* const bad = rig.stream("bad");
  zo2_stream* const infected = rig.stream("infected");
  zo2_stream* const healthy = rig.stream("healthy");
  zo2_gate* const gate = rig.gate();
  zo2_event* const event = rig.event();
  zo2_event* const before = rig.event();
  zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, 4 * kMiB);
  zo2_buffer* const other = rig.buffer(ZO2_BUFFER_HOST, 4096);
  zo2_buffer* const marks = rig.buffer(ZO2_BUFFER_HOST, 4);
  zo2_buffer* const device = rig.buffer(ZO2_BUFFER_DEVICE, 4);
  const uint64_t at = large ? 0 : 3 * kMiB + 7;
  const uint64_t bytes = large ? 4 * kMiB : 100;
  memset(bytes_of(rig, host), 9, 8192);
  // All of it is enqueued before anything fails.
  rig.ok(rig.table->stream_hold(bad, gate, &rig.error));
  rig.ok(rig.table->stream_record(bad, before, &rig.error));
  rig.ok(rig.table->copy(bad, {host, 0}, {broken.kept, at}, bytes, &rig.error));
  rig.ok(rig.table->stream_record(bad, event, &rig.error));
  rig.ok(rig.table->fill(bad, {marks, 0}, 7, 1, &rig.error));
  rig.ok(rig.table->fill(bad, {device, 0}, 7, 4, &rig.error));
  rig.ok(rig.table->copy(bad, {broken.kept, 0}, {host, 0}, 4096, &rig.error));
  rig.ok(rig.table->stream_wait(infected, event, &rig.error));
  rig.ok(rig.table->fill(infected, {marks, 1}, 7, 1, &rig.error));
  rig.ok(rig.table->copy(infected, {broken.kept, 4096}, {host, 0}, 4096, &rig.error));
  rig.ok(rig.table->copy(healthy, {other, 0}, {broken.kept, 0}, 4096, &rig.error));
  rig.table->gate_open(gate);
  const zo2_error of_bad = rig.finish(bad);
  const zo2_error of_infected = rig.finish(infected);
  CHECK(rig.finish(healthy).status == ZO2_OK);
  CHECK(of_bad.status == ZO2_STATUS_IO && contains(of_bad, "stream \"bad\": reading ") &&
            contains(of_bad, "the file ends there") && contains(of_bad, broken.folder.path()) &&
            (large ? contains(of_bad, " bytes at offset 2097152 of a file buffer") ||
                         contains(of_bad, " bytes at offset 3145728 of a file buffer")
                   : contains(of_bad, "100 bytes at offset 3145735 of a file buffer")),
        "status %d: %s", static_cast<int>(of_bad.status), of_bad.message);
  CHECK(of_infected.status == ZO2_STATUS_IO && strcmp(of_infected.message, of_bad.message) == 0, "%s",
        of_infected.message);
  CHECK(bytes_of(rig, marks)[0] == 0 && bytes_of(rig, marks)[1] == 0, "commands behind the failure are skipped");
  const std::vector<uint8_t> stored = contents_of(broken.folder, 8192);
  CHECK(stored == std::vector<uint8_t>(8192), "so are those that write into the file");
  Notified notified;
  rig.ok(rig.table->event_notify(before, Notified::call, &notified, &rig.error));
  CHECK(notified.wait() && notified.error().status == ZO2_OK, "what fired before the failure fired well");
  rig.ok(rig.table->copy(bad, {host, 0}, {broken.kept, 0}, 1, &rig.error));
  CHECK(rig.finish(bad).status == ZO2_STATUS_IO, "it stays poisoned");
}

void a_gather_that_fails_poisons_the_stream(const World& world) {
  Broken broken(world);
  Rig& rig = broken.rig;
  broken.cut(kMiB);
  zo2_stream* const stream = rig.stream("s");
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{0, 300, 1});
  zo2_buffer* const out = rig.buffer(ZO2_BUFFER_HOST, 3 * 8192);
  rig.ok(rig.table->gather(stream, {out, 0}, {broken.kept, 0}, {rows, 0}, 3, 0, 8192, &rig.error));
  const zo2_error end = rig.finish(stream);
  CHECK(end.status == ZO2_STATUS_IO && contains(end, "reading 8192 bytes at offset 2457600"), "%s", end.message);
}

void a_write_that_fails_poisons_the_stream(const World& world) {
  for (const bool large : {false, true}) {
    Broken broken(world);
    Rig& rig = broken.rig;
    zo2_stream* const stream = rig.stream("s");
    zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, 4 * kMiB);
    const SizeLimit limit(kMiB);
    rig.ok(rig.table->copy(stream, {broken.kept, 2 * kMiB + (large ? 0 : 1)}, {host, 0}, large ? 2 * kMiB : 9,
                           &rig.error));
    const zo2_error end = rig.finish(stream);
    CHECK(end.status == ZO2_STATUS_IO && contains(end, "writing ") && contains(end, "File too large") &&
              contains(end, broken.folder.path()),
          "status %d: %s", static_cast<int>(end.status), end.message);
  }
}

void destroying_a_stream_cancels_copies_that_have_not_started(const World& world) {
  Rig rig(world.options);
  zo2_stream* const held = rig.stream("held");
  zo2_gate* const gate = rig.gate();
  zo2_event* const event = rig.event();
  zo2_buffer* const kept = file(rig, world, 8192);
  zo2_buffer* const host = random_host(rig, 8192, 3);
  Notified notified;
  rig.ok(rig.table->stream_hold(held, gate, &rig.error));
  rig.ok(rig.table->copy(held, {kept, 0}, {host, 0}, 8192, &rig.error));
  rig.ok(rig.table->copy(held, {kept, 1}, {host, 0}, 8, &rig.error));
  rig.ok(rig.table->stream_record(held, event, &rig.error));
  rig.ok(rig.table->event_notify(event, Notified::call, &notified, &rig.error));
  rig.table->stream_destroy(held);
  rig.forget(held);
  CHECK(notified.wait() && notified.error().status == ZO2_STATUS_CANCELLED);
  CHECK(contents_of(world.folder, 8192) == std::vector<uint8_t>(8192));
}

void the_device_says_how_it_reads_files() {
  zo2_device_options threads = {};
  threads.no_io_uring = 1;
  Rig chosen;
  Rig plain(threads);
  CHECK(strstr(plain.info().features, "; files: threads (io_uring is not to be used)") != nullptr, "%s",
        plain.info().features);
  CHECK(strstr(chosen.info().features, "; files: ") != nullptr, "%s", chosen.info().features);
}

void all(const World& world) {
  a_file_is_there_for_its_buffer_alone(world);
  copies_move_the_bytes_they_name_and_no_other(world);
  long_copies_take_many_pieces(world);
  gather_reads_rows(world);
  gather_reads_long_rows(world);
  gather_names_a_row_that_is_not_there(world);
  streams_share_blocks(world);
  streams_move_large_pieces_side_by_side(world);
  events_order_files(world);
  for (const bool large : {false, true}) a_read_that_fails_poisons_the_stream(world, large);
  a_gather_that_fails_poisons_the_stream(world);
  a_write_that_fails_poisons_the_stream(world);
  destroying_a_stream_cancels_copies_that_have_not_started(world);
}

}  // namespace

int main() {
  const Folder plain;
  a_file_system_without_room_is_told();
  in_every_world(plain, all);
  other_uses_are_refused({plain, {}});
  files_that_cannot_be_made_are_refused({plain, {}});
  the_size_limit_of_the_process_is_told({plain, {}});
  the_device_says_how_it_reads_files();
  return zo2::test::report();
}
