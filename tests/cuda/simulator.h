// What tests of kernels ask of the simulated device: what a case has cost, and another order of all that has none of
// its own. On a GPU nothing is counted, and the order is the GPU's.
#pragma once

#include "switchyard/base/cuda_status.h"
#include "tests/simgpu/control.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace switchyard::test {

template <class F>
F* simulator(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}
inline bool is_simulated() { return simulator<decltype(simgpu_forget)>("simgpu_forget") != nullptr; }

// Of all kernels, or those that have `part` in their name, since counting began.
inline SimgpuKernelCounters counters(const char* part = "") {
  check_cuda(cudaDeviceSynchronize(), "kernels before counting");
  return simulator<decltype(simgpu_kernel)>("simgpu_kernel")(part);
}

// Blocks, warps, lanes of an atomic and streams have order `n` for its lifetime; 0 is the one that the program began
// in.
class Order {
 public:
  explicit Order(int64_t n) { set(n); }
  ~Order() { set(0); }
  Order(const Order&) = delete;
  Order& operator=(const Order&) = delete;

 private:
  static void set(int64_t n) {
    if (!is_simulated()) return;
    const char* seed = std::getenv("SIMGPU_SEED");
    simulator<decltype(simgpu_set)>("simgpu_set")("SEED", std::to_string((seed ? std::atoll(seed) : 1) + n).c_str());
  }
};

// The sizes of a test's cases: tests stay quick because none is above its limit. Prints the largest of each test.
class Budget : public testing::EmptyTestEventListener {
 public:
  static Budget& get() {
    static Budget& budget = []() -> Budget& {
      auto* made = new Budget;  // which GoogleTest deletes
      testing::UnitTest::GetInstance()->listeners().Append(made);
      return *made;
    }();
    return budget;
  }
  // `limit` in millions of `unit`
  void add(int64_t count, int64_t limit, const std::string& unit) {
    ++cases_;
    if (count >= largest_) largest_ = count, unit_ = unit;
    EXPECT_LE(count, limit * 1'000'000) << unit << " of one case: make it smaller";
  }

 private:
  void OnTestEnd(const testing::TestInfo&) override {
    if (cases_ > 0)
      fmt::print("[   COUNT  ] {} cases, the largest of {:.2f} M {}\n", cases_, static_cast<double>(largest_) / 1e6,
                 unit_);
    cases_ = largest_ = 0;
  }
  int64_t cases_ = 0, largest_ = 0;
  std::string unit_;
};

}  // namespace switchyard::test
