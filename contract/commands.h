// Commands, resolved: the arguments of zo2.h checked on the host, spans turned into the pointers they stand for. Both
// backends enqueue these, so that what one refuses the other refuses with the same words.
//
// `device` is the backend's own object, compared with that of buffers, layouts and programs. Everything throws
// Failure(INVALID_ARGUMENT), which names the command and the field, before anything is enqueued. What the tables on the
// device hold is checked when the command runs (fault.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "contract/layout.h"
#include "contract/memory.h"
#include "contract/program.h"
#include "contract/zo2.h"

namespace zo2::contract {

constexpr uint32_t kMaxDirections = 64;
constexpr uint32_t kMaxSides = 2;
constexpr uint32_t kMaxRank = 16;

struct CopyCommand {
  uint8_t* to;
  const uint8_t* from;
  uint64_t bytes;
};
CopyCommand resolve_copy(const void* device, const zo2_span& dst, const zo2_span& src, uint64_t bytes);

struct FillCommand {
  uint8_t* to;
  uint8_t byte;
  uint64_t bytes;
};
FillCommand resolve_fill(const void* device, const zo2_span& dst, uint8_t byte, uint64_t bytes);

struct GatherCommand {
  uint8_t* to;
  const uint8_t* from;
  const int32_t* rows;  // in host memory
  uint64_t count;
  int64_t row_base;
  uint64_t row_bytes;
  uint64_t present;  // rows that the source holds
};
GatherCommand resolve_gather(const void* device, const zo2_span& dst, const zo2_span& src, const zo2_span& rows,
                             uint64_t count, int64_t row_base, uint64_t row_bytes);

// The same two where a file is at one side: `file` is its buffer, with places in it in bytes from its start.
struct FileCopyCommand {
  const Memory* file;
  uint64_t offset;
  uint8_t* memory;
  uint64_t bytes;
  bool write;  // from memory to the file
};
FileCopyCommand resolve_file_copy(const void* device, const zo2_span& dst, const zo2_span& src, uint64_t bytes);

struct FileGatherCommand {
  const Memory* file;
  uint64_t offset;  // of row row_base
  uint8_t* to;
  const int32_t* rows;
  uint64_t count;
  int64_t row_base;
  uint64_t row_bytes;
  uint64_t present;  // rows that the source holds
};
FileGatherCommand resolve_file_gather(const void* device, const zo2_span& dst, const zo2_span& src,
                                      const zo2_span& rows, uint64_t count, int64_t row_base, uint64_t row_bytes);

struct SealCommand {
  const Memory* file;
  uint64_t offset;  // of the seal, in the file
  uint64_t index;
  const uint8_t* memory;
  uint64_t bytes;
  const uint8_t* note;
};
SealCommand resolve_seal(const void* device, const zo2_span& seal, uint64_t index, const zo2_span& memory,
                         uint64_t bytes, const zo2_span& note);

// An update whose places are known: plain data, which a kernel can be handed. Its coefficients are read when the
// command runs.
struct PendingUpdate {
  uint64_t seed;
  double learning_rate;
  double weight_decay;
  const zo2_coefficient* coefficients;  // `directions` of them
  const float* z;                       // BUFFER noise: the table of direction 0; otherwise null
  uint64_t z_stride;                    // bytes from the table of one direction to the next
  zo2_noise_kind noise;
  uint32_t step;
  uint32_t directions;   // 1..kMaxDirections
  uint32_t rank;         // LOW_RANK noise; otherwise 0
  uint32_t column_step;  // LOW_RANK noise: of the columns' factors; otherwise 0
};

struct PrepareSide {
  uint8_t* scratch;
  float eps;
};

// What prepare does to every element, but for the updates: plain data as well.
struct PreparePass {
  uint8_t* wire;
  PrepareSide sides[kMaxSides];
  uint32_t side_count;
  bool draws;           // false: every eps is 0, and a side gets the weight itself
  const int32_t* rows;  // GATHERED segments; null when there are none
  uint64_t row_count;
  const float* z;  // BUFFER noise; otherwise null
  uint64_t seed;
  zo2_noise_kind noise;
  uint32_t step;
  uint32_t direction;
  uint32_t rank;         // LOW_RANK noise; otherwise 0
  uint32_t column_step;  // LOW_RANK noise: of the columns' factors; otherwise 0
  zo2_rounding rounding;
  bool store;
  zo2_sticky* sticky;  // null without updates
};

struct PrepareCommand : PreparePass {
  const Layout* layout;
  std::vector<PendingUpdate> updates;
  uint64_t noise_elements;  // of the shortest buffer of noise; UINT64_MAX when none is used
};
PrepareCommand resolve_prepare(const void* device, const zo2_prepare_args& args);

struct RunCommand {
  const Program* program;
  std::array<uint8_t*, ZO2_SPACES> spaces;  // null: not used by the program
  std::array<uint64_t, ZO2_SYMBOLS> symbols;
};
RunCommand resolve_run(const void* device, const zo2_run_args& args);

// Tables may be in host or device memory.
struct LossCommand {
  zo2_loss_kind kind;
  const float* values;  // [targets]
  uint64_t targets;
  const float* labels;     // [targets], BINARY and SQUARED; null otherwise
  const int32_t* choices;  // [choice_count, 2], choices; null otherwise
  uint64_t choice_count;
  const int32_t* examples;  // [example_count, 3], choices; [example_count, 4], SPANS; null otherwise
  uint64_t example_count;
  double* loss;  // of the probe
  bool first;
};
LossCommand resolve_loss(const void* device, const zo2_loss_args& args);

// Plain data, which a kernel can be handed.
struct GradientCommand {
  double* losses;  // [probe_count]
  uint32_t probe_count;
  uint32_t direction_count;
  zo2_difference differences[kMaxDirections];
  double total;
  double divisor;
  zo2_shaping shaping;
  bool normalised;
  zo2_coefficient* coefficients;  // [direction_count]
  uint32_t step;
  zo2_sticky* sticky;
};
GradientCommand resolve_gradient(const void* device, const zo2_gradient_args& args);

}  // namespace zo2::contract
