// The thread pool: every chunk once, whoever runs it; exceptions; several callers.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/runtime/pool.h"

using zo2::cpu::ThreadPool;

namespace {

void every_chunk_runs_once(unsigned threads) {
  ThreadPool pool(threads);
  CHECK(pool.size() == threads);
  for (const int64_t chunks : {0, 1, 2, 3, 7, 1000}) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(chunks));
      std::atomic<bool> worker_in_range{true};
      pool.parallel_for(chunks, [&](int64_t chunk, unsigned worker) {
        runs[static_cast<size_t>(chunk)].fetch_add(1);
        if (worker >= threads) worker_in_range = false;
      });
      bool once = true;
      for (const auto& run : runs) once = once && run == 1;
      CHECK(once && worker_in_range, "%d threads, %d chunks", static_cast<int>(threads), static_cast<int>(chunks));
    }
  }
}

void workers_have_numbers_of_their_own() {
  constexpr unsigned kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<std::atomic<int>> inside(kThreads);
  std::atomic<bool> shared{false};
  pool.parallel_for(2000, [&](int64_t, unsigned worker) {
    if (inside[worker].fetch_add(1) != 0) shared = true;
    std::this_thread::yield();
    inside[worker].fetch_sub(1);
  });
  CHECK(!shared, "two threads ran as one worker at once");
}

void the_exception_of_the_lowest_chunk_comes_out_after_all_chunks(unsigned threads) {
  ThreadPool pool(threads);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> runs{0};
    std::string message;
    try {
      pool.parallel_for(100, [&](int64_t chunk, unsigned) {
        runs.fetch_add(1);
        if (chunk % 10 == 3) throw std::runtime_error(std::to_string(chunk));
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "3" && runs == 100, "threw \"%s\" after %d chunks", message.c_str(), runs.load());
  }
  std::atomic<int> runs{0};
  pool.parallel_for(10, [&](int64_t, unsigned) { runs.fetch_add(1); });
  CHECK(runs == 10, "the pool works after an exception");
}

void callers_take_turns() {
  ThreadPool pool(3);
  std::atomic<int> inside[3] = {};  // chunks of each caller that run now
  std::atomic<bool> together{false};
  std::atomic<int64_t> sum{0};
  const auto call = [&](int self) {
    for (int repeat = 0; repeat < 200; ++repeat) {
      pool.parallel_for(5, [&](int64_t chunk, unsigned) {
        inside[self].fetch_add(1);
        if (inside[3 - self] != 0) together = true;
        sum.fetch_add(chunk);
        inside[self].fetch_sub(1);
      });
    }
  };
  std::thread first(call, 1);
  std::thread second(call, 2);
  first.join();
  second.join();
  CHECK(!together, "chunks of two callers ran at once");
  CHECK(sum == 2 * 200 * 10);
}

}  // namespace

int main() {
  for (const unsigned threads : {1u, 2u, 5u}) {
    every_chunk_runs_once(threads);
    the_exception_of_the_lowest_chunk_comes_out_after_all_chunks(threads);
  }
  workers_have_numbers_of_their_own();
  callers_take_turns();
  return zo2::test::report();
}
