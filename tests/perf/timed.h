// Times an op forward and backward with Google Benchmark, and says what share of the machine's peak it reaches. The
// least time that an op can take is that of its products at the roof of their dtype, or that of reading its inputs and
// writing its results once, whichever is longer.
#pragma once

#include "switchyard/autograd/apply.h"
#include "switchyard/bench/roof.h"
#include "tests/support/compare.h"

#include <benchmark/benchmark.h>

#include <chrono>
#include <functional>
#include <memory>

namespace switchyard::perf {

using Function = std::function<Tensor(const Tensors&)>;

// Leaves are the floating inputs; others, such as ids, are passed through.
struct Timed {
  std::string name;  // "RmsNorm/odd tail"
  DType dtype;       // of the products
  std::function<Tensors()> inputs;
  Function op;
  double flops = 0, backward_flops = 0;  // of products
  bool has_gradient = true;
};

inline const bench::Roof& roof() {
  static const bench::Roof measured = bench::measure_roof(comm::Group(), {DType::f32, DType::bf16}, 0.1);
  return measured;
}

inline int64_t bytes_of(const Tensors& tensors) {
  int64_t bytes = 0;
  for (const Tensor& t : tensors)
    if (t.defined()) bytes += t.numel() * size_of(t.dtype());
  return bytes;
}

// GB/s of the triad: of arrays in a cache for operands that fit where those did, of memory for larger ones.
inline double memory_peak(int64_t bytes) {
  double peak = 0;
  int64_t held = 0;  // by the triads of smaller arrays
  for (const bench::TransferRate& rate : roof().memory) {
    if (rate.what != "triad") continue;
    if (peak == 0 || bytes > held) peak = rate.gb_per_second;
    held = 3 * rate.bytes;
  }
  return peak;
}

inline void report(benchmark::State& state, const Timed& timed, double seconds, int64_t bytes, double flops) {
  const double rate = 1 / std::max(seconds, 1e-12);
  const double least =
      std::max(flops / 1e9 / roof().gflops(timed.dtype), static_cast<double>(bytes) / 1e9 / memory_peak(bytes));
  state.counters["GB/s"] = static_cast<double>(bytes) / 1e9 * rate;
  if (flops > 0) state.counters["GF/s"] = flops / 1e9 * rate;
  state.counters["share_of_peak"] = least * rate;
}

// One timed iteration: the graph is made anew, as in training. Returns the seconds of `forward` or of its backward
// pass.
inline double run_once(const Timed& timed, const Tensors& inputs, bool is_backward, int64_t& bytes) {
  using Clock = std::chrono::steady_clock;
  Tensors arguments = inputs;
  std::vector<std::shared_ptr<autograd::Leaf>> leaves;
  for (Tensor& t : arguments)
    if (t.defined() && is_floating(t.dtype())) leaves.push_back(autograd::make_leaf(t = t.detach()));
  const Clock::time_point begin = Clock::now();
  const Tensor y = timed.op(arguments);
  const Clock::time_point middle = Clock::now();
  bytes = bytes_of(inputs) + bytes_of({y});
  if (!is_backward) return std::chrono::duration<double>(middle - begin).count();
  const Tensor dy = Tensor::full(y.shape(), y.dtype(), 1);
  const Clock::time_point backward = Clock::now();
  autograd::backward({y}, {dy});
  const double seconds = std::chrono::duration<double>(Clock::now() - backward).count();
  for (const auto& leaf : leaves) bytes += bytes_of({leaf->grad});
  return seconds;
}

inline void run(benchmark::State& state, const Timed& timed, bool is_backward) {
  const Tensors inputs = timed.inputs();
  int64_t bytes = 0;
  double sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    const double seconds = run_once(timed, inputs, is_backward, bytes);
    state.SetIterationTime(seconds);
    sum += seconds;
  }
  report(state, timed, sum / static_cast<double>(state.iterations()), bytes,
         is_backward ? timed.backward_flops : timed.flops);
}

inline void add(const Timed& timed) {
  for (const bool is_backward : {false, true}) {
    if (is_backward && !timed.has_gradient) continue;
    benchmark::RegisterBenchmark((timed.name + (is_backward ? "/backward" : "/forward")).c_str(),
                                 [timed, is_backward](benchmark::State& state) { run(state, timed, is_backward); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace switchyard::perf
