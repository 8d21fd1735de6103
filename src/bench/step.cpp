// Warm-up, then timed steps between two looks at the process; the roof comes last, so that its memory is not the
// step's.
#include "switchyard/bench/step.h"

#include "bench/process.h"
#include "bench/timing.h"
#include "kernels/products.h"
#include "switchyard/autograd/profile.h"
#include "switchyard/base/threads.h"
#include "switchyard/bench/cost.h"
#include "switchyard/data/random_step.h"
#include "switchyard/optim/schedule.h"
#include "switchyard/train/step.h"

#include <algorithm>

namespace switchyard::bench {
namespace {

std::vector<OpTime> op_times(const autograd::Profile& profile, double steps) {
  std::vector<OpTime> ops;
  for (const auto& [name, entry] : profile.entries())
    ops.push_back({name, entry.forward_seconds / steps, entry.backward_seconds / steps,
                   static_cast<double>(entry.calls) / steps});
  std::sort(ops.begin(), ops.end(), [](const OpTime& a, const OpTime& b) { return a.seconds() > b.seconds(); });
  return ops;
}

class StepBench {
 public:
  StepBench(const train::ExperimentConfig& config, comm::World& world) : config_(config), session_(config, world) {}

  double step(int64_t t, const StepOptions& options, StepReport& report) {
    if (options.begins) options.begins(fmt::format("step {}", t));
    const comm::Group& data = session_.mesh.data();
    const auto batches =
        data::random_step(config_.data, config_.model.vocab_size, static_cast<uint64_t>(config_.run.seed),
                          t * config_.train.global_batch_size, config_.train.global_batch_size,
                          config_.train.micro_batch_size, data.rank(), data.size());
    session_.mesh.all().barrier();
    const double begin = now();
    report.loss =
        train::train_step(session_, batches, t, optim::learning_rate(config_.schedule, t, config_.train.steps)).loss;
    return now() - begin;
  }

  // A step counts as one allocation at least when the process is larger after it, or was larger than ever in it.
  void timed_steps(const StepOptions& options, StepReport& report) {
    autograd::Profile profile;
    Allocator::current()->reset_peaks();
    for (int64_t i = 1; i <= options.steps; ++i) {
      const int64_t segments = Allocator::current()->system_allocations();
      const ProcessUsage before = process_usage();
      report.step_seconds.push_back(step(options.warm_up + i, options, report));
      const ProcessUsage after = process_usage();
      const bool is_larger =
          after.mapped_bytes > before.mapped_bytes || after.peak_mapped_bytes > before.peak_mapped_bytes;
      report.system_allocations +=
          std::max<int64_t>(is_larger ? 1 : 0, Allocator::current()->system_allocations() - segments);
      report.minor_faults += after.minor_faults - before.minor_faults;
    }
    report.ops = op_times(profile, static_cast<double>(options.steps));
    report.peak_memory_bytes = Allocator::current()->total().peak_bytes;
    for (int p = 0; p < kNumPurposes; ++p)
      report.peak_by_purpose[static_cast<size_t>(p)] = Allocator::current()->stats(static_cast<Purpose>(p)).peak_bytes;
    report.peak_resident_bytes = process_usage().peak_resident_bytes;
  }

  train::ExpectedMemory expected_memory() { return train::expected_memory(config_, session_.model, session_.mesh); }

 private:
  const train::ExperimentConfig& config_;
  train::Session session_;
};

// What ranks measured apart becomes one report, the same on all.
void combine(const comm::Group& all, StepReport& report) {
  all.all_reduce(report.step_seconds.data(), std::ssize(report.step_seconds), DType::f64, comm::Reduce::max).wait();
  std::sort(report.step_seconds.begin(), report.step_seconds.end());
  for (int64_t* most : {&report.peak_memory_bytes, &report.peak_resident_bytes})
    all.all_reduce(most, 1, DType::i64, comm::Reduce::max).wait();
  all.all_reduce(report.peak_by_purpose.data(), kNumPurposes, DType::i64, comm::Reduce::max).wait();
  for (int64_t* sum :
       {&report.kernels_compiled, &report.kernels_compiled_before, &report.system_allocations, &report.minor_faults})
    all.all_reduce(sum, 1, DType::i64).wait();
}

}  // namespace

double StepReport::median_seconds() const { return step_seconds.empty() ? 0 : median(step_seconds); }

double StepReport::mean_seconds() const {
  double sum = 0;
  for (const double s : step_seconds) sum += s;
  return step_seconds.empty() ? 0 : sum / static_cast<double>(step_seconds.size());
}

double StepReport::roof_share() const {
  const double best = roof.gflops(dtype);
  return best > 0 ? gflops() / best : 0;
}

double StepReport::share_of(const OpTime& op) const {
  const double step = mean_seconds();
  return step > 0 ? op.seconds() / step : 0;
}

double StepReport::attributed_share() const {
  double sum = 0;
  for (const OpTime& op : ops) sum += share_of(op);
  return sum;
}

StepReport measure_step(const std::string& name, const train::ExperimentConfig& config, comm::World& world,
                        const StepOptions& options) {
  StepReport report;
  report.config = name;
  report.dtype = config.train.dtype;
  report.threads = num_threads();
  report.ranks = world.size();
  report.tokens = config.train.global_batch_size * config.data.sequence_length;
  report.flops_per_token = flops_per_token(config.model, config.data.sequence_length);
  const int64_t compiled_at_start = kernels::kernels_compiled();
  {
    StepBench bench(config, world);
    for (int64_t t = 1; t <= options.warm_up; ++t) bench.step(t, options, report);
    const int64_t compiled = kernels::kernels_compiled();
    bench.timed_steps(options, report);
    report.expected = bench.expected_memory();
    report.kernels_compiled_before = compiled - compiled_at_start;
    report.kernels_compiled = kernels::kernels_compiled() - compiled;
  }
  combine(world.all(), report);
  if (options.roof_seconds > 0)
    report.roof = measure_roof(world.all(), {report.dtype}, options.roof_seconds, 1, options.begins);
  return report;
}

}  // namespace switchyard::bench
