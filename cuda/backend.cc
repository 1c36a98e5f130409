// The CUDA backend's table of functions (zo2.h). Who runs on which thread:
//
//   - a caller's thread checks the arguments of a command and hands it to CUDA, which may block it once about a
//     thousand commands are queued (commands, stream);
//   - each stream has one thread, which waits for its records, fires them and calls those that asked to be told
//     (watcher). A record that fired before somebody asks is told of on the asking thread.
//
// No lock is held while user code runs. Nothing is static but what has no destructor, so that a process that exits with
// work in its queues does not wait for it. A fork cannot use CUDA: there every call fails, and destroying leaks.
#include "contract/table.h"
#include "cuda/commands.h"
#include "cuda/program_run.h"
#include "cuda/runtime/buffer.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/event.h"
#include "cuda/runtime/gate.h"
#include "cuda/runtime/stream.h"

namespace zo2::cuda {
namespace {

struct Backend {
  using Device = cuda::Device;
  using Stream = cuda::Stream;
  using Event = cuda::Event;
  using Gate = cuda::Gate;
  using Buffer = cuda::Buffer;
  using DeviceLayout = cuda::DeviceLayout;
  using DeviceProgram = cuda::DeviceProgram;

  static constexpr const char* kKind = "cuda";
  static constexpr const char* kForked = "CUDA does not work in a fork; open it in a new process";

  static contract::DeviceCount count_devices() { return cuda::count_devices(); }
};

constexpr zo2_backend kTable = contract::Table<Backend>::make();

}  // namespace
}  // namespace zo2::cuda

extern "C" const zo2_backend* zo2_cuda_backend(void) { return &zo2::cuda::kTable; }
