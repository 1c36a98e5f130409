// Threads that read and write files, where there is no io_uring.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "disk/transfer.h"

namespace zo2::disk {

// How a backend starts a thread of its own: named, with every signal blocked. Throws Failure.
using StartThread = std::thread (*)(const std::string& name, std::function<void()> body);

// Several transfers at a time share the threads. Whoever wants one takes part in it, so that each gets on also where no
// thread can be had.
class Workers {
 public:
  explicit Workers(StartThread start) : start_(start) {}
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Returns when all of it is done. Throws Failure(IO).
  void run(const Transfer& transfer);

 private:
  struct Job;
  void start();  // with the lock
  void serve();
  static void work(Job& job);

  const StartThread start_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace zo2::disk
