// When the CUDA backend asks for memory: when something is made, never while commands are enqueued; and what becomes of
// it where memory is refused.
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cinttypes>
#include <fstream>
#include <string>
#include <vector>

#include "cuda/runtime/lock_refusal.h"
#include "cuda/runtime/touch.h"
#include "emulated.h"
#include "rig.h"

extern "C" uint64_t zo2_emu_memory_calls(void);
extern "C" uint64_t zo2_emu_live_memory(void);
extern "C" void zo2_emu_refuse(const char* function, uint64_t after, cudaError_t status);

using zo2::test::Rig;

namespace {

constexpr uint64_t kDepth = 8;

// The log-probabilities of one target: the op that works in scratch.
struct Head {
  Head(Rig& rig, uint64_t rows, uint64_t vocabulary) : rig(rig) {
    const auto place = [](int space, double offset, int dtype, double count, double columns) {
      return std::vector<double>{double(space), offset, double(dtype), count, columns, columns};
    };
    std::vector<double> words = {4, 5, 1, ZO2_SYMBOLS, 1, 1, double(rows), 1, 1, 1, 1};
    for (const auto& operand : {place(ZO2_SPACE_RESULTS, 0, ZO2_F32, -1 - ZO2_SYMBOL_TARGETS, 1),
                                place(ZO2_SPACE_CARRIED, 0, ZO2_F32, -1 - ZO2_SYMBOL_HEAD_ROWS, 2),
                                place(ZO2_SPACE_WORKSPACE, 0, ZO2_F32, -1 - ZO2_SYMBOL_HEAD_ROWS, kDepth),
                                place(ZO2_SPACE_WEIGHTS, 0, ZO2_F32, double(vocabulary), kDepth),
                                place(ZO2_SPACE_INPUTS, 0, ZO2_I32, -1 - ZO2_SYMBOL_TARGETS, 2)})
      words.insert(words.end(), operand.begin(), operand.end());
    for (const double word : {double(ZO2_OP_CROSS_ENTROPY), 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 3.0})
      words.push_back(word);
    uint64_t bytes[ZO2_SPACES] = {vocabulary * kDepth * 4, rows * 8, rows * kDepth * 4, 8, 4, 0};
    args.program = rig.program(words, bytes);
    for (size_t s = 0; s < ZO2_SPACE_CACHE; ++s) args.spaces[s] = {rig.buffer(ZO2_BUFFER_DEVICE, bytes[s]), 0};
    args.symbols[ZO2_SYMBOL_ROWS] = args.symbols[ZO2_SYMBOL_SEQUENCES] = args.symbols[ZO2_SYMBOL_TARGETS] =
        args.symbols[ZO2_SYMBOL_TABLE_ROWS] = 1;
    args.symbols[ZO2_SYMBOL_HEAD_ROWS] = rows;
  }

  void run(zo2_stream* stream) {
    for (const zo2_span& space : args.spaces) {
      if (space.buffer == nullptr) continue;
      rig.ok(rig.table->fill(stream, space, 0, rig.table->buffer_bytes(space.buffer), &rig.error));
    }
    rig.launched(rig.table->run(stream, &args, &rig.error));
  }

  Rig& rig;
  zo2_run_args args = {};
};

// A flush of so many updates that they do not travel as arguments of the kernel.
struct Flush {
  static constexpr uint32_t kUpdates = 40;

  explicit Flush(Rig& rig) : rig(rig) {
    zo2_segment segment = {};
    segment.count = 16;
    args.layout = rig.layout({segment});
    args.wire = {rig.buffer(ZO2_BUFFER_DEVICE, 64), 0};
    args.sticky = {rig.buffer(ZO2_BUFFER_DEVICE, sizeof(zo2_sticky)), 0};
    args.noise = ZO2_NOISE_GAUSSIAN;
    args.store = 1;
    coefficients = {rig.buffer(ZO2_BUFFER_DEVICE, sizeof(zo2_coefficient)), 0};
    for (zo2_update& update : updates) {
      update.directions = 1;
      update.learning_rate = 1;
      update.coefficients = coefficients;
    }
    args.updates = updates;
    args.update_count = kUpdates;
  }

  void run(zo2_stream* stream) {
    for (const zo2_span& span : {args.wire, args.sticky, coefficients})
      rig.ok(rig.table->fill(stream, span, 0, rig.table->buffer_bytes(span.buffer), &rig.error));
    rig.launched(rig.table->prepare(stream, &args, &rig.error));
  }

  Rig& rig;
  zo2_update updates[kUpdates] = {};
  zo2_span coefficients = {};
  zo2_prepare_args args = {};
};

// The first time and every time, on streams that are older than the programs and younger.
void no_command_asks_for_memory() {
  Rig rig({}, zo2_cuda_backend());
  zo2_stream* const older = rig.stream("older");
  Head small(rig, 3, 50);
  Head large(rig, 2000, 3000);
  Flush flush(rig);
  zo2_stream* const younger = rig.stream("younger");
  for (zo2_stream* const stream : {older, younger}) {
    const uint64_t before = zo2_emu_memory_calls();
    small.run(stream);
    large.run(stream);
    flush.run(stream);
    CHECK(zo2_emu_memory_calls() == before, "%" PRIu64 " calls", zo2_emu_memory_calls() - before);
    const zo2_error ended = rig.finish(stream);
    CHECK(ended.status == ZO2_OK, "%s", ended.message);
  }
}

// Refuses the calls of a function while it lives.
class Refused {
 public:
  Refused(const char* function, cudaError_t status, uint64_t after = 0) : function_(function) {
    zo2_emu_refuse(function, after, status);
  }
  ~Refused() { zo2_emu_refuse(function_, 0, cudaSuccess); }
  Refused(const Refused&) = delete;
  Refused& operator=(const Refused&) = delete;

 private:
  const char* const function_;
};

constexpr uint64_t kLarge = (uint64_t{4} << 20) + 5;  // registered
constexpr uint64_t kSmall = 1000;                     // from cudaHostAlloc

// Asynchronous copies to and from it are right, and it was zero.
void works(Rig& rig, zo2_buffer* host, uint64_t bytes) {
  auto* const data = static_cast<uint8_t*>(rig.table->buffer_host_pointer(host));
  CHECK(std::all_of(data, data + bytes, [](uint8_t byte) { return byte == 0; }), "host memory is zeroed");
  CHECK(reinterpret_cast<uintptr_t>(data) % 256 == 0);
  zo2_stream* const stream = rig.stream("copies");
  zo2_buffer* const device = rig.buffer(ZO2_BUFFER_DEVICE, bytes);
  for (uint64_t i = 0; i < bytes; ++i) data[i] = static_cast<uint8_t>(i * 7);
  rig.ok(rig.table->copy(stream, {device, 0}, {host, 0}, bytes, &rig.error));
  rig.ok(rig.table->fill(stream, {host, 0}, 0, bytes, &rig.error));
  rig.ok(rig.table->copy(stream, {host, 0}, {device, 0}, bytes, &rig.error));
  const zo2_error ended = rig.finish(stream);
  CHECK(ended.status == ZO2_OK, "%s", ended.message);
  for (uint64_t i = 0; i < bytes; ++i) {
    if (!CHECK(data[i] == static_cast<uint8_t>(i * 7), "byte %" PRIu64, i)) return;
  }
}

void memory_that_cannot_be_registered_is_allocated_pinned() {
  const uint64_t before = zo2_emu_live_memory();
  for (const cudaError_t why : {cudaErrorMemoryAllocation, cudaErrorNotSupported, cudaErrorInvalidValue}) {
    Rig rig({}, zo2_cuda_backend());
    const Refused refused("cudaHostRegister", why);
    works(rig, rig.buffer(ZO2_BUFFER_HOST, kLarge), kLarge);
  }
  CHECK(zo2_emu_live_memory() == before, "%" PRIu64 " pieces are left", zo2_emu_live_memory() - before);
}

void has(const zo2_error& error, const char* text) {
  CHECK(strstr(error.message, text) != nullptr, "\"%s\" should have \"%s\"", error.message, text);
}

// Of addresses.
uint64_t mapped_bytes() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

// A buffer that fits is had afterwards.
void memory_that_is_refused_twice_is_no_pageable_memory() {
  Rig rig({}, zo2_cuda_backend());
  const uint64_t before = zo2_emu_live_memory();
  const uint64_t mapped = mapped_bytes(), huge = uint64_t{96} << 20;
  for (const uint64_t bytes : {huge, kLarge, kSmall}) {
    const Refused registering("cudaHostRegister", cudaErrorNotSupported);
    const Refused allocating("cudaHostAlloc", cudaErrorMemoryAllocation);
    zo2_buffer* buffer = nullptr;
    const zo2_status status = rig.table->buffer_create(rig.device, ZO2_BUFFER_HOST, bytes, &buffer, &rig.error);
    CHECK(status == ZO2_STATUS_OUT_OF_MEMORY && buffer == nullptr, "status %d", static_cast<int>(status));
    has(rig.error, (std::to_string(bytes) + " bytes of host memory cannot be had for the device; ").c_str());
    has(rig.error, "cudaHostAlloc said: out of memory (cudaErrorMemoryAllocation): ");
    if (bytes != kSmall)
      has(rig.error, "cudaHostRegister said: operation not supported (cudaErrorNotSupported), ");
    else
      CHECK(strstr(rig.error.message, "cudaHostRegister") == nullptr, "%s", rig.error.message);
    has(rig.error, "so it is the driver that refuses; plan for less");
    CHECK(zo2_emu_live_memory() == before && rig.info().host_bytes == 0);
    CHECK(mapped_bytes() < mapped + huge / 2, "what could not be registered is still mapped");
  }
  works(rig, rig.buffer(ZO2_BUFFER_HOST, kLarge), kLarge);
}

void a_lost_device_is_not_called_a_lack_of_memory() {
  Rig rig({}, zo2_cuda_backend());
  const Refused registering("cudaHostRegister", cudaErrorLaunchFailure);
  zo2_buffer* buffer = nullptr;
  const zo2_status status = rig.table->buffer_create(rig.device, ZO2_BUFFER_HOST, kLarge, &buffer, &rig.error);
  CHECK(status == ZO2_STATUS_DEVICE, "status %d", static_cast<int>(status));
  has(rig.error, "cudaErrorLaunchFailure) in cudaHostRegister");
}

// Of addresses, which a process may be short of long before memory is.
void a_mapping_that_fails_says_so() {
  Rig rig({}, zo2_cuda_backend());
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
  const rlimit tight = {mapped_bytes() + (uint64_t{64} << 20), limit.rlim_max};
  CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
  zo2_buffer* buffer = nullptr;
  const uint64_t bytes = uint64_t{256} << 20;
  const zo2_status status = rig.table->buffer_create(rig.device, ZO2_BUFFER_HOST, bytes, &buffer, &rig.error);
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK(status == ZO2_STATUS_OUT_OF_MEMORY && buffer == nullptr, "status %d", static_cast<int>(status));
  has(rig.error, "mmap said: Cannot allocate memory");
}

// Whatever call is the first to be refused, what failed says that memory is short, and nothing is left.
void nothing_leaks_whatever_is_refused() {
  const zo2_backend* const table = zo2_cuda_backend();
  const uint64_t before = zo2_emu_live_memory();
  for (const char* const function : {"cudaMalloc", "cudaHostAlloc", "cudaHostRegister"}) {
    for (uint64_t after = 0;; ++after) {
      CHECK(after < 50, "%s: there is no end of calls", function);
      const Refused refused(function, cudaErrorMemoryAllocation, after);
      zo2_device_options options = {};
      zo2_error error = {};
      zo2_device* device = nullptr;
      zo2_stream* streams[2] = {};
      zo2_buffer* buffers[4] = {};
      zo2_layout* layout = nullptr;
      zo2_segment segment = {};
      segment.count = 16;
      zo2_status status = table->device_open(&options, &device, &error);
      const auto next = [&](const auto& make) {
        if (status == ZO2_OK) status = make();
      };
      for (zo2_stream*& one : streams) next([&] { return table->stream_create(device, "s", &one, &error); });
      const uint64_t sizes[] = {kSmall, kLarge, kSmall, kLarge};
      for (int i = 0; i < 4; ++i) {
        const zo2_buffer_kind kind = i < 2 ? ZO2_BUFFER_HOST : ZO2_BUFFER_DEVICE;
        next([&] { return table->buffer_create(device, kind, sizes[i], &buffers[i], &error); });
      }
      next([&] { return table->layout_create(device, &segment, 1, &layout, &error); });
      const bool all = layout != nullptr;
      CHECK(all || status == ZO2_STATUS_OUT_OF_MEMORY, "%s, call %" PRIu64 ": status %d, %s", function, after,
            static_cast<int>(status), error.message);
      for (zo2_stream* const one : streams) table->stream_destroy(one);
      for (zo2_buffer* const one : buffers) table->buffer_destroy(one);
      table->layout_destroy(layout);
      if (device != nullptr) table->device_close(device);
      CHECK(zo2_emu_live_memory() == before, "%s, call %" PRIu64 ": %" PRIu64 " pieces are left", function, after,
            zo2_emu_live_memory() - before);
      // The registration of a large buffer has another way, so its first refusal may be no failure.
      if (all && (after > 0 || strcmp(function, "cudaHostRegister") != 0)) break;
    }
  }
}

void the_reason_is_the_one_that_the_facts_show() {
  zo2::contract::Host host = {};
  host.memory_total = 1000;
  host.memory_free = 700;
  const auto why = [&](uint64_t bytes, bool wsl, uint64_t limit, bool holds) {
    return zo2::cuda::why_not_locked({bytes, host, wsl, limit, holds});
  };
  const auto is = [](const std::string& text, const char* expected) {
    CHECK(text.find(expected) == 0, "\"%s\" should begin with \"%s\"", text.c_str(), expected);
  };
  is(why(1001, true, 10, true), "that is more than the 1000 that the machine has;");
  is(why(701, true, 10, true), "700 are free of the 1000 that the machine has;");
  is(why(700, true, 10, true), "Windows lets WSL lock a part");
  is(why(700, false, 10, true), "this process may lock 10 (ulimit -l);");
  // A limit that does not hold this process is no reason.
  is(why(700, false, 10, false), "700 are free of the 1000 that the machine has, so it is the driver that refuses;");
  host.memory_by = "/sys/fs/cgroup/x/memory.max";
  is(why(701, false, 10, true), "700 are free of the 1000 that /sys/fs/cgroup/x/memory.max allows;");
}

// By as many threads as there are cores for so much.
void pages_are_there_once_touched_and_keep_what_they_hold() {
  const uint64_t page = 4096, bytes = uint64_t{200} << 20;
  void* const start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!CHECK(start != MAP_FAILED)) return;
  auto* const data = static_cast<uint8_t*>(start);
  data[0] = data[bytes - 1] = 42;
  zo2::cuda::touch_pages(start, bytes);
  std::vector<unsigned char> there(bytes / page);
  CHECK(mincore(start, bytes, there.data()) == 0);
  const auto absent = std::count_if(there.begin(), there.end(), [](unsigned char one) { return (one & 1) == 0; });
  CHECK(absent == 0, "%td pages are not there", absent);
  CHECK(data[0] == 42 && data[bytes - 1] == 42);
  zo2::cuda::zero_bytes(data + 1, bytes - 1);
  CHECK(data[0] == 42 && data[bytes - 1] == 0);
  munmap(start, bytes);
}

}  // namespace

int main() {
  no_command_asks_for_memory();
  memory_that_cannot_be_registered_is_allocated_pinned();
  memory_that_is_refused_twice_is_no_pageable_memory();
  a_lost_device_is_not_called_a_lack_of_memory();
  a_mapping_that_fails_says_so();
  nothing_leaks_whatever_is_refused();
  the_reason_is_the_one_that_the_facts_show();
  pages_are_there_once_touched_and_keep_what_they_hold();
  return zo2::test::report();
}
