// The head's walk over a tile of the vocabulary on Hopper's own instructions: split_kernel of cross_entropy.cu is its
// twin for every other device, for operands that the copy engine cannot address, and for few rows.
#pragma once

#include "cuda/ops/cross_entropy.cuh"

namespace zo2::cuda {

// Whether launch_cross_entropy_sm90 can do this: a device of capability 9.0 and an image built for sm_90a; x and weight
// of one 16-bit dtype, with bases and row strides that are multiples of 16 bytes; enough rows and entries to fill its
// tiles and the device.
bool cross_entropy_sm90_accepts(const Launch& launch, const CrossEntropyArgs& args);

// Enqueues what writes the SoftmaxPair of every row of x over each of `splits` splits of the vocabulary to
// scratch[split * x.rows + row], for arguments that cross_entropy_sm90_accepts. cudaErrorInvalidValue: scratch is too
// small, or the driver made no tensor map; cudaErrorInvalidConfiguration: more blocks than a grid has.
cudaError_t launch_cross_entropy_sm90(const Launch& launch, const CrossEntropyArgs& args, int64_t* splits);

}  // namespace zo2::cuda
