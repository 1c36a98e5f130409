// What the race detector sees of files: a copy from or to one touches host memory in the order of its stream, and
// nothing else orders it against others. Compiled with the emulator like a kernel file.
#include <string>
#include <vector>

#include "emulated.h"
#include "file_folders.h"
#include "rig.h"

using zo2::test::Folder;
using zo2::test::kRaceBuild;
using zo2::test::Rig;

namespace {

constexpr uint64_t kBytes = 64 << 10;

struct Scene {
  explicit Scene(const Folder& folder) {
    const zo2_file_options options = {folder.path().c_str(), kBytes};
    rig.ok(rig.table->file_create(rig.device, &options, &file, &rig.error));
    rig.keep(file);
  }

  void copy(zo2_stream* stream, zo2_buffer* to, zo2_buffer* from) {
    rig.ok(rig.table->copy(stream, {to, 0}, {from, 0}, kBytes, &rig.error));
  }
  void gather(zo2_stream* stream) {
    rig.ok(rig.table->gather(stream, {host, 0}, {file, 0}, {rows, 0}, 2, 0, 4096, &rig.error));
  }
  void seal(zo2_stream* stream) {
    rig.ok(rig.table->seal(stream, {file, 0}, 0, {host, 0}, kBytes, {note, 0}, &rig.error));
  }
  void fill(zo2_stream* stream) { rig.ok(rig.table->fill(stream, {host, 0}, 1, kBytes, &rig.error)); }
  // `later` waits for what `earlier` has by now.
  void order(zo2_stream* earlier, zo2_stream* later) {
    zo2_event* const event = rig.event();
    rig.ok(rig.table->stream_record(earlier, event, &rig.error));
    rig.ok(rig.table->stream_wait(later, event, &rig.error));
  }

  Rig rig{{}, zo2_cuda_backend()};
  zo2_stream* const disk = rig.stream("disk");
  zo2_stream* const other = rig.stream("other");
  zo2_buffer* const host = rig.buffer(ZO2_BUFFER_HOST, kBytes);
  zo2_buffer* const note = rig.buffer(ZO2_BUFFER_HOST, ZO2_SEAL_NOTE_BYTES);
  zo2_buffer* const device = rig.buffer(ZO2_BUFFER_DEVICE, kBytes);
  zo2_buffer* const rows = rig.host(std::vector<int32_t>{3, 1});
  zo2_buffer* file = nullptr;
};

// Two commands that touch the same host memory, on two streams: ordered by an event, there is no report; without it,
// there is one.
void expect_order_to_matter(const Folder& folder, const char* name, void (*earlier)(Scene&), void (*later)(Scene&)) {
  for (const bool ordered : {true, false}) {
    const uint64_t before = zo2_emu_reports();
    Scene scene(folder);
    earlier(scene);
    if (ordered) scene.order(scene.disk, scene.other);
    later(scene);
    scene.rig.finish(scene.disk);
    scene.rig.finish(scene.other);
    const std::string text = zo2_emu_last_report();
    if (ordered || !kRaceBuild) {
      CHECK(zo2_emu_reports() == before, "%s: %s", name, text.c_str());
    } else if (CHECK(zo2_emu_reports() > before, "%s: no report", name)) {
      CHECK(text.find("[racecheck]") != std::string::npos && text.find("host function") != std::string::npos, "%s: %s",
            name, text.c_str());
    }
    scene.rig.destroy();  // a report is a failure of the device
  }
}

}  // namespace

int main() {
  const Folder folder;
  expect_order_to_matter(
      folder, "read, then upload", [](Scene& s) { s.copy(s.disk, s.host, s.file); },
      [](Scene& s) { s.copy(s.other, s.device, s.host); });
  expect_order_to_matter(
      folder, "gather, then fill", [](Scene& s) { s.gather(s.disk); }, [](Scene& s) { s.fill(s.other); });
  expect_order_to_matter(
      folder, "write, then fill", [](Scene& s) { s.copy(s.disk, s.file, s.host); }, [](Scene& s) { s.fill(s.other); });
  expect_order_to_matter(
      folder, "fill, then write", [](Scene& s) { s.fill(s.disk); }, [](Scene& s) { s.copy(s.other, s.file, s.host); });
  expect_order_to_matter(
      folder, "seal, then fill", [](Scene& s) { s.seal(s.disk); }, [](Scene& s) { s.fill(s.other); });
  return zo2::test::report();
}
