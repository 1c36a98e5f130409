// The CPU backend's table of functions (zo2.h). Who runs on which thread:
//
//   - a caller's thread checks the arguments of a command, copies them and appends them to a stream's queue (commands);
//   - each stream has one thread, which takes its commands in order: what moves bytes runs on it whole, waits and holds
//     block it, records fire on it (stream, event);
//   - prepare and run split their work over the device's one pool; the stream's thread takes part in it. Two streams
//     that want the pool at once take turns (pool);
//   - callbacks of event_notify run on a thread of the device that does nothing else (notifier).
//
// No lock is held while user code or a command runs, but for the pool's turn. Nothing is static but what has no
// destructor, so that a process that exits with work in its queues does not wait for it. A fork has none of the
// threads: there every call fails, and destroying leaks.
#include "contract/table.h"
#include "cpu/commands.h"
#include "cpu/program_run.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/device.h"
#include "cpu/runtime/event.h"
#include "cpu/runtime/gate.h"
#include "cpu/runtime/stream.h"

namespace zo2::cpu {
namespace {

struct Backend {
  using Device = cpu::Device;
  using Stream = cpu::Stream;
  using Event = cpu::Event;
  using Gate = cpu::Gate;
  using Buffer = cpu::Buffer;
  using DeviceLayout = cpu::DeviceLayout;
  using DeviceProgram = cpu::DeviceProgram;

  static constexpr const char* kKind = "cpu";
  static constexpr const char* kForked = "its threads were left behind; open it again in this process";

  static contract::DeviceCount count_devices() { return {1, {}}; }
};

constexpr zo2_backend kTable = contract::Table<Backend>::make();

}  // namespace
}  // namespace zo2::cpu

extern "C" const zo2_backend* zo2_cpu_backend(void) { return &zo2::cpu::kTable; }
