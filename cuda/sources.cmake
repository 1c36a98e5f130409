# The sources of the CUDA backend, relative to this folder: one list for the build with nvcc and for that with the emulator.
set(zo2_cuda_sources
  backend.cc
  commands.cc
  kernel_list.cc
  program_run.cu
  runtime/buffer.cc
  runtime/check.cc
  runtime/clock.cc
  runtime/delay.cc
  runtime/device.cc
  runtime/event.cc
  runtime/event_pool.cc
  runtime/gate.cc
  runtime/lane.cc
  runtime/owners.cc
  runtime/stream.cc
  runtime/thread.cc
  runtime/watcher.cc
  ops/attention.cu
  ops/attention_mma.cu
  ops/attention_simt.cu
  ops/cast.cu
  ops/check.cu
  ops/checkpoint.cu
  ops/copy.cu
  ops/cross_entropy.cu
  ops/embed.cu
  ops/fill.cu
  ops/gated_activation.cu
  ops/gather.cu
  ops/gather_rows.cu
  ops/layer_norm.cu
  ops/linear.cu
  ops/linear_mma.cu
  ops/linear_simt.cu
  ops/linear_sm90.cu
  ops/loss.cu
  ops/prepare.cu
  ops/rms_norm.cu
  ops/rope.cu
  ops/scatter_rows.cu
  ops/store.cu
  ops/transpose.cu
)

# Whose bits are part of the contract (numerics/): the compiler must not join a product and a sum.
set(zo2_cuda_exact_sources ops/prepare.cu)
