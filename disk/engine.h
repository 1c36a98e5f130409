// How a device's streams read and write files: by io_uring where the build has it and the kernel allows it, by threads
// otherwise.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "disk/ring.h"
#include "disk/transfer.h"
#include "disk/workers.h"

namespace zo2::disk {

class Engine {
 public:
  // `threads_only`: no io_uring even where it is to be had.
  Engine(bool threads_only, StartThread start);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // "io_uring", or "threads" with the reason.
  const std::string& name() const { return name_; }

  // Held while a command moves bytes from or to memory that is not its own.
  class Use {
   public:
    explicit Use(Engine& engine);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Engine& engine_;
  };
  // For who gives memory away that a command may use whose end nobody waits for any more.
  void wait_until_unused();

  // Returns when all pieces are moved. Several threads at a time. Throws Failure(IO).
  void run(Transfer transfer);

 private:
  std::unique_ptr<Ring> take_ring();
  void give_back(std::unique_ptr<Ring> ring);

  std::string name_;
  bool rings_ = false;
  Workers workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned uses_ = 0;
  std::vector<std::unique_ptr<Ring>> idle_;
};

}  // namespace zo2::disk
