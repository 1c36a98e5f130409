#include "cuda/ops/checkpoint.cuh"

#include "cuda/kernel.h"
#include "cuda/ops/raise.cuh"

namespace zo2::cuda {
namespace {

// The command of another stream that raised its slot; 0 when none has. That stream may be about to: the word is atomic
// on both sides.
__device__ inline uint64_t raised_by(FaultSlot& slot) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(&slot.command), 0ull);
}

__global__ void checkpoint_kernel(FaultSlot* slot, uint64_t command, Checkpoint checkpoint) {
  if (slot->raised != 0) return;
  // The host writes this word at any time: volatile, so that it is read from there.
  bool stop = *static_cast<const volatile uint32_t*>(checkpoint.stopped) != 0;
  for (uint32_t i = 0; i < checkpoint.count && !stop; ++i) {
    const uint64_t by = raised_by(*checkpoint.sources[i].slot);
    stop = by != 0 && by <= checkpoint.sources[i].command;
  }
  if (!stop) return;
  set_command(*slot, command);
  slot->raised = 1;
}

}  // namespace

cudaError_t launch_checkpoint(const Launch& launch, const Checkpoint& checkpoint) {
  return ZO2_LAUNCH(checkpoint_kernel, 1, 1, 0, launch.stream, launch.slot, launch.command, checkpoint);
}

}  // namespace zo2::cuda
