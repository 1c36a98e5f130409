// 64-bit offsets: every op, with each of its operands in turn where 32 bits do not reach (rows nearly 2^31 elements
// apart, or an offset past 2^32 elements), gives the bits that it gives with the operand close by; and prepare with a
// unit that lies past 2^32 elements of its buffers. The buffers are of more than 8 GiB, of which only the rows in use
// are ever touched; where there is no room for one, its case is skipped with a message.
#include <cinttypes>
#include <cstring>
#include <string>
#include <vector>

#include "random.h"
#include "rig.h"

namespace {

using zo2::test::on_cuda;
using zo2::test::Random;
using zo2::test::Rig;

constexpr uint64_t kPast = uint64_t{1} << 32;  // elements
// The largest there is, and the largest that keeps rows aligned to 16 bytes, so that kernels for vectors run as well.
constexpr int64_t kFarStride = (int64_t{1} << 31) - 1, kFarAlignedStride = (int64_t{1} << 31) - 8;
constexpr uint64_t kGuard = 64;  // bytes before and after each row that must stay as they are

uint64_t size_of(zo2_dtype dtype) { return dtype == ZO2_F16 || dtype == ZO2_BF16 ? 2 : 4; }

struct Matrix {
  const char* name;
  int space;
  zo2_dtype dtype;
  int64_t rows, cols;
  std::vector<int32_t> table;  // I32: what it holds; other dtypes are random
};

struct Case {
  const char* name;
  int opcode;
  std::vector<Matrix> operands;
  std::vector<double> attributes;
};

struct Place {
  uint64_t offset;
  int64_t stride;
};

zo2_device_options roomy() {
  zo2_device_options options = {};
  options.memory_limit = uint64_t{1} << 40;
  options.threads = 2;
  return options;
}

// Operands near one another: all of one space in a row, with the alignment that the far places have too, so that the
// same kernels run.
std::vector<Place> near_places(const Case& c, bool aligned) {
  std::vector<Place> places;
  uint64_t ends[ZO2_SPACES] = {};
  for (const Matrix& m : c.operands) {
    // As kFarStride, 7 past a multiple of 8, unless it is to be aligned; with room for two guards.
    const int64_t stride = (m.cols + 7) / 8 * 8 + 64 + (aligned ? 0 : 7);
    const uint64_t offset = (ends[m.space] + kGuard + 255) / 256 * 256;
    places.push_back({offset, stride});
    ends[m.space] = offset + static_cast<uint64_t>(m.rows * stride) * size_of(m.dtype) + kGuard;
  }
  return places;
}

class Run {
 public:
  Run(const Case& c, const std::vector<Place>& places) : case_(c), places_(places), rig_(roomy()) {}

  // The rows of every operand after the run, each with its guards; empty when a buffer has no room.
  std::vector<std::vector<uint8_t>> rows() {
    uint64_t bytes[ZO2_SPACES];
    zo2_run_args args = {};
    for (int s = 0; s < ZO2_SPACES; s++) {
      bytes[s] = 0;
      for (size_t i = 0; i < places_.size(); i++) {
        if (case_.operands[i].space == s)
          bytes[s] = std::max(bytes[s], row_offset(i, case_.operands[i].rows - 1) + row_bytes(i) + kGuard);
      }
      if (bytes[s] == 0) continue;
      const zo2_status status =
          rig_.table->buffer_create(rig_.device, ZO2_BUFFER_DEVICE, bytes[s], &spaces_[s], &rig_.error);
      if (status == ZO2_STATUS_OUT_OF_MEMORY) return {};
      rig_.ok(status);
      args.spaces[s] = {spaces_[s], 0};
    }
    stream_ = rig_.stream("far");
    write();
    args.program = rig_.program(words(), bytes);
    rig_.launched(rig_.table->run(stream_, &args, &rig_.error));
    std::vector<std::vector<uint8_t>> rows;
    for (size_t i = 0; i < places_.size(); i++) {
      for (int64_t r = 0; r < case_.operands[i].rows; r++) rows.push_back(read(i, r));
    }
    return rows;
  }

  ~Run() {
    rig_.finish(rig_.stream("end"));
    for (zo2_buffer* space : spaces_) rig_.table->buffer_destroy(space);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  const zo2_error& error() const { return rig_.error; }

 private:
  uint64_t row_bytes(size_t i) const {
    return static_cast<uint64_t>(case_.operands[i].cols) * size_of(case_.operands[i].dtype);
  }
  uint64_t row_offset(size_t i, int64_t row) const {
    return places_[i].offset +
           static_cast<uint64_t>(row) * static_cast<uint64_t>(places_[i].stride) * size_of(case_.operands[i].dtype);
  }

  std::vector<double> words() const {
    std::vector<double> words = {4, double(places_.size()), 1, 0};
    std::vector<double> op = {double(case_.opcode), double(places_.size() + case_.attributes.size())};
    for (size_t i = 0; i < places_.size(); i++) {
      const Matrix& m = case_.operands[i];
      for (double word : {double(m.space), double(places_[i].offset), double(m.dtype), double(m.rows), double(m.cols),
                          double(places_[i].stride)}) {
        words.push_back(word);
      }
      op.push_back(double(i));
    }
    words.insert(words.end(), op.begin(), op.end());
    words.insert(words.end(), case_.attributes.begin(), case_.attributes.end());
    return words;
  }

  // Guards of 0xff bytes, NaN, so that what is read beside a row spoils the result.
  void write() {
    Random random(17);
    for (size_t i = 0; i < places_.size(); i++) {
      const Matrix& m = case_.operands[i];
      for (int64_t r = 0; r < m.rows; r++) {
        std::vector<uint8_t> bytes(row_bytes(i) + 2 * kGuard, 0xff);
        for (int64_t c = 0; c < m.cols; c++) {
          uint8_t* const at = bytes.data() + kGuard + static_cast<uint64_t>(c) * size_of(m.dtype);
          const float value = static_cast<float>(random.real());
          const uint16_t half = static_cast<uint16_t>(0x3000 + random.below(0x800));  // an fp16 from 0.125 to 0.5
          if (m.dtype == ZO2_I32) {
            std::memcpy(at, &m.table[static_cast<size_t>(r * m.cols + c)], 4);
          } else if (m.dtype == ZO2_F32) {
            std::memcpy(at, &value, 4);
          } else {
            std::memcpy(at, &half, 2);
          }
        }
        rig_.ok(rig_.table->copy(stream_, {spaces_[m.space], row_offset(i, r) - kGuard}, {rig_.host(bytes), 0},
                                 bytes.size(), &rig_.error));
      }
    }
  }

  std::vector<uint8_t> read(size_t i, int64_t row) {
    const uint64_t bytes = row_bytes(i) + 2 * kGuard;
    zo2_buffer* const staging = rig_.buffer(ZO2_BUFFER_HOST, bytes);
    rig_.ok(rig_.table->copy(stream_, {staging, 0}, {spaces_[case_.operands[i].space], row_offset(i, row) - kGuard},
                             bytes, &rig_.error));
    const zo2_error ended = rig_.finish(stream_);
    CHECK(ended.status == ZO2_OK, "%s: %s", case_.name, ended.message);
    const uint8_t* const from = static_cast<const uint8_t*>(rig_.table->buffer_host_pointer(staging));
    return {from, from + bytes};
  }

  const Case& case_;
  const std::vector<Place>& places_;
  Rig rig_;
  zo2_buffer* spaces_[ZO2_SPACES] = {};
  zo2_stream* stream_ = nullptr;
};

// Whether the case ran with operand `i` at `place`.
bool test_place(const Case& c, std::vector<Place> places, size_t i, const Place& place,
                const std::vector<std::vector<uint8_t>>& expected) {
  places[i] = place;
  Run run(c, places);
  const std::vector<std::vector<uint8_t>> got = run.rows();
  if (got.empty()) {
    std::printf("skipped: %s with %s far: %s\n", c.name, c.operands[i].name, run.error().message);
    return false;
  }
  CHECK(got == expected, "%s with %s at offset %" PRIu64 ", rows %" PRId64 " elements apart: other bits than close by",
        c.name, c.operands[i].name, place.offset, place.stride);
  return true;
}

void test_case(const Case& c, bool aligned, int& ran) {
  const std::vector<Place> places = near_places(c, aligned);
  const std::vector<std::vector<uint8_t>> expected = Run(c, places).rows();
  for (size_t i = 0; i < c.operands.size(); i++) {
    const Matrix& m = c.operands[i];
    const uint64_t size = size_of(m.dtype);
    // Behind the others of its space, with the alignment that it has close by.
    ran += test_place(c, places, i, {places[i].offset + (kPast * size + 4096), places[i].stride}, expected);
    const int64_t far = aligned ? kFarAlignedStride : kFarStride;
    if (m.rows > 1 && m.rows <= 3) ran += test_place(c, places, i, {places[i].offset + 65536, far}, expected);
  }
}

std::vector<Case> cases() {
  enum {
    W = ZO2_SPACE_WEIGHTS,
    C = ZO2_SPACE_CARRIED,
    T = ZO2_SPACE_WORKSPACE,
    I = ZO2_SPACE_INPUTS,
    R = ZO2_SPACE_RESULTS,
    K = ZO2_SPACE_CACHE
  };
  const zo2_dtype f32 = ZO2_F32, f16 = ZO2_F16, i32 = ZO2_I32;
  // Three rows: the last one's elements lie past 2^32 at the far stride.
  return {
      {"embed",
       ZO2_OP_EMBED,
       {{"out", C, f16, 3, 20, {}}, {"table", W, f16, 3, 20, {}}, {"index", I, i32, 3, 1, {2, 0, 1}}},
       {0, 3, 0}},
      {"linear",
       ZO2_OP_LINEAR,
       {{"out", C, f16, 3, 20, {}},
        {"x", T, f16, 3, 24, {}},
        {"weight", W, f16, 20, 24, {}},
        {"bias", W, f32, 1, 20, {}},
        {"residual", C, f16, 3, 20, {}}},
       {ZO2_ACTIVATION_GELU, 1, 0}},
      {"linear, few columns",
       ZO2_OP_LINEAR,
       {{"out", C, f32, 3, 3, {}},
        {"x", T, f16, 3, 40, {}},
        {"weight", W, f16, 3, 40, {}},
        {"bias", W, f16, 1, 3, {}},
        {"residual", C, f16, 3, 3, {}}},
       {ZO2_ACTIVATION_NONE, 1, 0}},
      {"layerNorm",
       ZO2_OP_LAYER_NORM,
       {{"out", C, f16, 3, 20, {}}, {"x", T, f16, 3, 20, {}}, {"gain", W, f16, 1, 20, {}}, {"bias", W, f16, 1, 20, {}}},
       {1e-5}},
      {"attention",
       ZO2_OP_ATTENTION,
       {{"out", C, f16, 3, 32, {}},
        {"q", T, f16, 3, 32, {}},
        {"k", T, f16, 3, 16, {}},
        {"v", T, f16, 3, 16, {}},
        {"sequences", I, i32, 2, 4, {0, 2, 0, 0, 2, 1, 0, 1}}},
       {2, 1, 0.25, 0}},
      {"attention in f32",
       ZO2_OP_ATTENTION,
       {{"out", C, f16, 3, 32, {}},
        {"q", T, f32, 3, 32, {}},
        {"k", T, f16, 3, 16, {}},
        {"v", T, f16, 3, 16, {}},
        {"sequences", I, i32, 1, 4, {0, 3, 0, 0}}},
       {2, 1, 0.25, 2}},
      {"attention with keys in f32",
       ZO2_OP_ATTENTION,
       {{"out", C, f32, 3, 16, {}},
        {"q", T, f32, 3, 16, {}},
        {"k", T, f32, 3, 16, {}},
        {"v", T, f32, 3, 16, {}},
        {"sequences", I, i32, 1, 4, {0, 3, 0, 0}}},
       {1, 1, 0.25, 0}},
      {"attention over a cache",
       ZO2_OP_ATTENTION,
       {{"out", C, f16, 2, 32, {}},
        {"q", T, f16, 2, 32, {}},
        {"k", K, f16, 3, 16, {}},
        {"v", K, f16, 3, 16, {}},
        {"sequences", I, i32, 2, 5, {0, 1, 1, 1, 2, 1, 1, 0, 0, 1}}},
       {2, 1, 0.25, 0}},
      {"scatterRows",
       ZO2_OP_SCATTER_ROWS,
       {{"out", K, f16, 3, 20, {}}, {"x", T, f16, 3, 20, {}}, {"index", I, i32, 3, 1, {2, 0, 1}}},
       {}},
      {"transpose", ZO2_OP_TRANSPOSE, {{"out", T, f16, 3, 3, {}}, {"x", W, f16, 3, 3, {}}}, {}},
      {"gatherRows",
       ZO2_OP_GATHER_ROWS,
       {{"out", C, f16, 3, 20, {}}, {"x", T, f16, 3, 20, {}}, {"index", I, i32, 3, 1, {2, 0, 1}}},
       {}},
      {"crossEntropy",
       ZO2_OP_CROSS_ENTROPY,
       {{"logprob", R, f32, 3, 1, {}},
        {"state", C, f32, 3, 2, {}},
        {"x", T, f16, 3, 24, {}},
        {"weight", W, f16, 3, 24, {}},
        {"targets", I, i32, 3, 2, {0, 1, 2, 2, 1, -100}}},
       {0, ZO2_TILE_FIRST | ZO2_TILE_LAST}},
      {"rmsNorm",
       ZO2_OP_RMS_NORM,
       {{"out", C, f16, 3, 20, {}}, {"x", T, f16, 3, 20, {}}, {"gain", W, f16, 1, 10, {}}},
       {1e-5}},
      {"rope",
       ZO2_OP_ROPE,
       {{"out", C, f16, 3, 20, {}}, {"x", T, f16, 3, 20, {}}, {"positions", I, i32, 3, 1, {7, 0, 300}}},
       {10, 8, 1, 4, 1, 0.5, 0.25, 0.125}},
      {"gatedActivation",
       ZO2_OP_GATED_ACTIVATION,
       {{"out", C, f16, 3, 20, {}}, {"gate", T, f16, 3, 20, {}}, {"up", T, f16, 3, 20, {}}},
       {ZO2_ACTIVATION_SILU}},
      {"cast", ZO2_OP_CAST, {{"out", C, f16, 3, 20, {}}, {"x", T, f32, 3, 20, {}}}, {}},
  };
}

// One unit of 3000 elements, `far` bytes behind the start of its buffers. The wire bytes, W+ and W-; empty when there
// is no room.
std::vector<uint8_t> prepared(uint64_t far) {
  constexpr uint64_t kCount = 3000, kBytes = kCount * 2;
  Rig rig(roomy());
  zo2_segment segment = {};
  segment.canonical = (uint64_t{1} << 40) + 77;
  segment.count = kCount;
  segment.wire_offset = segment.scratch_offset = far;
  segment.wire_dtype = segment.scratch_dtype = ZO2_BF16;
  zo2_stream* const stream = rig.stream("far");
  zo2_span spans[3];
  for (zo2_span& span : spans) {
    span = {nullptr, 0};
    const zo2_status status =
        rig.table->buffer_create(rig.device, ZO2_BUFFER_DEVICE, far + kBytes, &span.buffer, &rig.error);
    if (status != ZO2_STATUS_OUT_OF_MEMORY) rig.ok(status);
  }
  std::vector<uint8_t> result;
  if (spans[0].buffer != nullptr && spans[1].buffer != nullptr && spans[2].buffer != nullptr) {
    std::vector<uint16_t> weights(kCount);
    for (size_t i = 0; i < kCount; i++) weights[i] = static_cast<uint16_t>(0x3c00 + i % 500);
    rig.ok(rig.table->copy(stream, {spans[0].buffer, far}, {rig.host(weights), 0}, kBytes, &rig.error));
    zo2_update update = {};
    update.noise = ZO2_NOISE_GAUSSIAN;
    update.step = 4;
    update.directions = 1;
    update.coefficients = {rig.on_device(stream, std::vector<zo2_coefficient>{{3.0f, 1}}), 0};
    update.learning_rate = 0.01;
    zo2_prepare_args args = {};
    args.layout = rig.layout({segment});
    args.wire = spans[0];
    const zo2_side sides[] = {{spans[1], 0.25f}, {spans[2], -0.25f}};
    args.sides = sides;
    args.side_count = 2;
    args.noise = ZO2_NOISE_GAUSSIAN;
    args.step = 5;
    args.store = 1;
    args.rounding = ZO2_ROUND_STOCHASTIC;
    args.sticky = {rig.on_device(stream, std::vector<zo2_sticky>{{0, 0}}), 0};
    args.updates = &update;
    args.update_count = 1;
    rig.launched(rig.table->prepare(stream, &args, &rig.error));
    for (const zo2_span& span : spans) {
      zo2_buffer* const staging = rig.buffer(ZO2_BUFFER_HOST, kBytes);
      rig.ok(rig.table->copy(stream, {staging, 0}, {span.buffer, far}, kBytes, &rig.error));
      rig.ok(rig.finish(stream).status);
      const uint8_t* const from = static_cast<const uint8_t*>(rig.table->buffer_host_pointer(staging));
      result.insert(result.end(), from, from + kBytes);
    }
  } else {
    std::printf("skipped: prepare %" PRIu64 " bytes behind the start: %s\n", far, rig.error.message);
  }
  rig.finish(stream);
  for (const zo2_span& span : spans) rig.table->buffer_destroy(span.buffer);
  return result;
}

}  // namespace

int main() {
  int ran = 0;
  for (const Case& c : cases()) {
    for (const bool aligned : {false, true}) test_case(c, aligned, ran);
  }
  const std::vector<uint8_t> near = prepared(64), far = prepared(kPast * 2 + 64);
  CHECK(far.empty() || far == near, "prepare past 2^32 elements of its buffers gives other bits");
  std::printf("%d of the far places had room%s\n", ran, on_cuda() ? " on cuda" : "");
  return zo2::test::report();
}
