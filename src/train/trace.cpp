// Ranks hand what they have recorded to rank 0 after each step, one after the other, so that it holds one rank's at a
// time and no other file is needed. Times count from rank 0's start by the clocks of the machines, which are one on one
// machine and as close as they are kept between several.
#include "switchyard/train/trace.h"

#include "switchyard/base/clock.h"
#include "switchyard/base/error.h"
#include "switchyard/base/log.h"
#include "switchyard/base/units.h"
#include "switchyard/comm/agree.h"
#include "train/recorder.h"

#include <limits>
#include <tuple>

namespace switchyard::train {
namespace {

constexpr std::string_view kHead = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", kTail = "\n]}\n";
constexpr int64_t kWarmUpSteps = 2, kSteps = 3;  // packing of weights and the first use of kernels come in the first

// Seconds since 1970 minus those of now(), from the pair of readings that were least apart.
double wall_minus_steady() {
  double least = std::numeric_limits<double>::infinity(), difference = 0;
  for (int i = 0; i < 32; ++i) {
    const double before = now();
    const double wall = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    const double after = now();
    if (after - before >= least) continue;
    least = after - before;
    difference = wall - (before + after) / 2;
  }
  return difference;
}

std::pair<int64_t, int64_t> choose_steps(const TraceOptions& options, int64_t position, int64_t num_steps) {
  require(position < num_steps, ExitCode::usage, "--trace: the run is at step {} of {}, no step is left to trace",
          position, num_steps);
  if (!options.steps)
    return {std::min(position + kWarmUpSteps + 1, num_steps), std::min(position + kWarmUpSteps + kSteps, num_steps)};
  const auto [first, last] = *options.steps;
  require(position < first && last <= num_steps, ExitCode::usage,
          "--trace-steps {}:{}: this start trains steps {} to {}; accepted: FIRST:LAST among them", first, last,
          position + 1, num_steps);
  return {first, last};
}

}  // namespace

Trace::Trace(const TraceOptions& options, int64_t position, int64_t num_steps, const comm::Group& all)
    : all_(all), path_(options.file) {
  comm::together(all_, [&] { std::tie(first_, last_) = choose_steps(options, position, num_steps); });
  comm::on_rank_zero(all_, [&] {
    make_file();
    return std::string();
  });
  const double difference = wall_minus_steady();
  double start = difference + now();
  all_.broadcast(&start, sizeof start, 0).wait();
  origin_ = start - difference;
}

Trace::~Trace() = default;

void Trace::begin_step() {
  if (!recorder_) recorder_ = std::make_unique<Recorder>(all_.rank(), origin_, make_timeline());
}

void Trace::end_step(int64_t step) {
  const std::string own = recorder_->take();
  if (step == last_) recorder_ = nullptr;
  const Range range("writing the trace", RangeKind::phase);
  const auto ranks = static_cast<size_t>(all_.size());
  std::vector<int64_t> sizes(ranks);
  const int64_t size = std::ssize(own);
  all_.all_gather(&size, sizes.data(), 1, DType::i64).wait();
  if (all_.rank() == 0) append(own, step);
  for (size_t r = 1; r < ranks; ++r) {
    std::vector<int64_t> send(ranks, 0), receive(ranks, 0);
    std::string arrived;
    if (all_.rank() == 0) arrived.resize(static_cast<size_t>(receive[r] = sizes[r]));
    if (all_.rank() == static_cast<int>(r)) send[0] = size;
    all_.all_to_all_v(own.data(), send, arrived.data(), receive, DType::u8).wait();
    if (all_.rank() == 0) append(arrived, step);
  }
}

void Trace::make_file() {
  try {
    file_ = File::create(path_);
    file_.require_regular();
    file_.write_at(0, fmt::format("{}{}", kHead, kTail));
    end_ = std::ssize(kHead);
  } catch (const Error& error) {
    fail(ExitCode::usage, "--trace: {}", error.what());
  }
}

// Events come with ",\n" before each; the first of the file has nothing before it. A trace that cannot be written must
// not end the run: the file keeps the events before.
void Trace::append(std::string_view events, int64_t step) {
  if (!file_.is_open()) return;
  if (end_ == std::ssize(kHead)) events.remove_prefix(2);
  try {
    file_.write_at(end_, fmt::format("{}{}", events, kTail));
    end_ += std::ssize(events);
  } catch (const Error& error) {
    log()->warn("{}; the trace ends before step {}", error.what(), step);
    File broken = std::move(file_);
    try {
      broken.write_at(end_, kTail);
      broken.truncate(end_ + std::ssize(kTail));
    } catch (const Error& again) {
      log()->warn("{}; the trace is not whole", again.what());
    }
  }
}

std::string Trace::describe() const {
  return first_ == last_ ? fmt::format("step {} in {}", first_, path_)
                         : fmt::format("steps {} to {} in {}", first_, last_, path_);
}

}  // namespace switchyard::train
