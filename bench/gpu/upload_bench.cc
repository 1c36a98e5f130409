// Transfers between pinned host memory and the device through the backend's table, beside the same bytes by plain
// cudaMemcpyAsync: one way, the other way, and both at once on two streams.
#include "bench/gpu/bench.h"
#include "bench/gpu/table.h"

namespace {

using zo2::bench::Device;
using zo2::bench::Fired;
using zo2::bench::Line;
using zo2::bench::Memory;
using zo2::bench::must;

constexpr int kRepeats = 10;

struct Directions {
  const char* name;
  bool up, down;
};

double through_backend(uint64_t bytes, const Directions& directions) {
  const zo2_backend* const table = zo2_cuda_backend();
  const zo2_device_options options{};
  zo2_error error{};
  zo2_device* device = nullptr;
  must(table->device_open(&options, &device, &error), error);
  zo2_stream* streams[2] = {};
  zo2_event* begins[2] = {};
  zo2_event* ends[2] = {};
  zo2_buffer* hosts[2] = {};
  zo2_buffer* devices[2] = {};
  const char* const names[2] = {"upload", "offload"};
  for (int i = 0; i < 2; ++i) {
    must(table->stream_create(device, names[i], &streams[i], &error), error);
    must(table->event_create(device, &begins[i], &error), error);
    must(table->event_create(device, &ends[i], &error), error);
    must(table->buffer_create(device, ZO2_BUFFER_HOST, bytes, &hosts[i], &error), error);
    must(table->buffer_create(device, ZO2_BUFFER_DEVICE, bytes, &devices[i], &error), error);
    must(table->fill(streams[i], {devices[i], 0}, 0x3c, bytes, &error), error);
  }
  const bool used[2] = {directions.up, directions.down};
  for (int round = 0; round <= kRepeats; ++round) {
    for (int i = 0; i < 2; ++i) {
      if (!used[i]) continue;
      // The first round does not count.
      if (round == 1) must(table->stream_record(streams[i], begins[i], &error), error);
      zo2_buffer* const to = i == 0 ? devices[i] : hosts[i];
      zo2_buffer* const from = i == 0 ? hosts[i] : devices[i];
      must(table->copy(streams[i], {to, 0}, {from, 0}, bytes, &error), error);
    }
  }
  double begin = INFINITY, end = -INFINITY;
  for (int i = 0; i < 2; ++i) {
    if (used[i]) must(table->stream_record(streams[i], ends[i], &error), error);
  }
  for (int i = 0; i < 2; ++i) {
    if (!used[i]) continue;
    Fired(table, ends[i]);
    double first = 0, last = 0;
    must(table->event_time(begins[i], &first, &error), error);
    must(table->event_time(ends[i], &last, &error), error);
    begin = std::min(begin, first);
    end = std::max(end, last);
  }
  for (int i = 0; i < 2; ++i) {
    table->stream_destroy(streams[i]);
    table->event_destroy(begins[i]);
    table->event_destroy(ends[i]);
    table->buffer_destroy(hosts[i]);
    table->buffer_destroy(devices[i]);
  }
  table->device_close(device);
  return (end - begin) / kRepeats;
}

double plain(uint64_t bytes, const Directions& directions) {
  Device device;
  cudaStream_t streams[2];
  cudaEvent_t begins[2], ends[2];
  void* hosts[2];
  Memory up(bytes), down(bytes);
  void* const devices[2] = {up.as<void>(), down.as<void>()};
  for (int i = 0; i < 2; ++i) {
    zo2::bench::check(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    zo2::bench::check(cudaEventCreate(&begins[i]), "cudaEventCreate");
    zo2::bench::check(cudaEventCreate(&ends[i]), "cudaEventCreate");
    zo2::bench::check(cudaHostAlloc(&hosts[i], bytes, cudaHostAllocDefault), "cudaHostAlloc");
    memset(hosts[i], 0x3c, bytes);
    zo2::bench::check(cudaMemset(devices[i], 0x3c, bytes), "cudaMemset");
  }
  const bool used[2] = {directions.up, directions.down};
  for (int round = 0; round <= kRepeats; ++round) {
    for (int i = 0; i < 2; ++i) {
      if (!used[i]) continue;
      if (round == 1) zo2::bench::check(cudaEventRecord(begins[i], streams[i]), "cudaEventRecord");
      void* const to = i == 0 ? devices[i] : hosts[i];
      const void* const from = i == 0 ? hosts[i] : devices[i];
      zo2::bench::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, streams[i]), "cudaMemcpyAsync");
    }
  }
  for (int i = 0; i < 2; ++i) {
    if (used[i]) zo2::bench::check(cudaEventRecord(ends[i], streams[i]), "cudaEventRecord");
  }
  zo2::bench::check(cudaDeviceSynchronize(), "transfers");
  // Of two streams that began together, the time from the earlier begin to the later end.
  const int anchor = used[0] ? 0 : 1;
  float begin = 0, end = -INFINITY;
  for (int i = 0; i < 2; ++i) {
    if (!used[i]) continue;
    float first = 0, last = 0;
    zo2::bench::check(cudaEventElapsedTime(&first, begins[anchor], begins[i]), "cudaEventElapsedTime");
    zo2::bench::check(cudaEventElapsedTime(&last, begins[anchor], ends[i]), "cudaEventElapsedTime");
    begin = std::min(begin, first);
    end = std::max(end, last);
  }
  for (int i = 0; i < 2; ++i) {
    cudaStreamDestroy(streams[i]);
    cudaEventDestroy(begins[i]);
    cudaEventDestroy(ends[i]);
    cudaFreeHost(hosts[i]);
  }
  return static_cast<double>(end - begin) * 1e-3 / kRepeats;
}

}  // namespace

int main() {
  const std::vector<uint64_t> sizes =
      zo2::bench::tiny() ? std::vector<uint64_t>{4096} : std::vector<uint64_t>{16 << 20, 128 << 20, 1 << 30};
  const Directions all[] = {{"upload", true, false}, {"offload", false, true}, {"both at once", true, true}};
  for (const Directions& directions : all) {
    for (const uint64_t bytes : sizes) {
      const double beside = plain(bytes, directions);
      const double moved = static_cast<double>(bytes) * (directions.up && directions.down ? 2 : 1);
      Line line;
      line.text("bench", "transfer").text("case", directions.name).number("plainSeconds", beside);
      // The prediction is the plain copy: the backend may add nothing to it.
      line.figures(through_backend(bytes, directions), moved, moved / beside, 0, 0);
      line.print();
    }
  }
}
