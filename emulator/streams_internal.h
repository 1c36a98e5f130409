// State of the streams, shared by streams.cc (queues) and progress.cc (threads).
#pragma once

#include <thread>

#include "emulator/streams.h"

namespace zo2::emu {

struct Worker {
  std::thread thread;
  bool done = false;
};

struct Streams {
  RuntimeLock lock;
  std::condition_variable_any changed;       // for those that wait for operations: one has ended
  std::condition_variable_any work_waits;    // for the progress thread: an operation is left in its queue
  std::vector<std::shared_ptr<Stream>> all;  // by number; null where a number is free. 0 is the default stream
  uint64_t operations = 0;
  cudaError_t failure = cudaSuccess;

  // progress.cc
  std::thread progress;
  uint64_t served = 0;  // a progress thread ends when this is no longer the number it was started with
  std::deque<std::shared_ptr<Worker>> workers;  // threads of host functions
};

// Never destroyed: threads may still run while the process exits.
Streams& streams();

bool runnable(const Stream& stream);
// Runs the head of the queue, or hands it to a thread of its own.
void run_head(const std::shared_ptr<Stream>& stream);
void finish_operation(const std::shared_ptr<Stream>& stream, uint64_t number);

// progress.cc
void start_progress();
void run_host_function(const std::shared_ptr<Stream>& stream, Operation operation);

}  // namespace zo2::emu
