// Ranks as threads of the test: run_ranks(n, [](comm::World& world) { ... }). Each rank has its own thread-local state
// and one compute thread. An exception in a rank fails the test and releases the others.
#pragma once

#include "switchyard/base/threads.h"
#include "switchyard/comm/world.h"

#include <gtest/gtest.h>

#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace switchyard::test {

// Runs fn on every rank; the text of the first failure, or "".
template <class Fn>
std::string first_failure_of_ranks(int n, Fn&& fn) {
  std::mutex mutex;
  std::string first;
  auto run = [&](comm::World world) {
    set_num_threads(1);
    try {
      fn(world);
      return;
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      if (first.empty()) first = fmt::format("[rank {}] {}", world.rank(), error.what());
    }
    try {
      world.abort(static_cast<int>(ExitCode::internal));
    } catch (const Error&) {  // how abort leaves a rank that is a thread
    }
  };
  auto worlds = comm::World::threads(n);
  std::vector<std::thread> threads;
  for (auto& world : worlds) threads.emplace_back(run, std::move(world));
  worlds.clear();
  for (auto& thread : threads) thread.join();
  return first;
}

template <class Fn>
void run_ranks(int n, Fn&& fn) {
  const std::string failure = first_failure_of_ranks(n, std::forward<Fn>(fn));
  EXPECT_TRUE(failure.empty()) << failure;
}

}  // namespace switchyard::test
