// The loop around the training step.
#include "switchyard/train/trainer.h"

#include "switchyard/base/clock.h"
#include "switchyard/base/log.h"
#include "switchyard/base/progress.h"
#include "switchyard/base/units.h"
#include "switchyard/base/version.h"
#include "switchyard/checkpoint/run_lock.h"
#include "switchyard/comm/agree.h"
#include "switchyard/device/range.h"
#include "switchyard/metrics/verdict.h"
#include "switchyard/optim/schedule.h"
#include "switchyard/train/expected_memory.h"
#include "switchyard/train/logbook.h"
#include "switchyard/train/resume.h"
#include "switchyard/train/startup.h"
#include "switchyard/train/stop.h"
#include "switchyard/train/watchdog.h"

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <utility>

namespace switchyard::train {
namespace {

constexpr int64_t kStepsToRetry = 10;  // after a save that failed, if checkpoint.every is not less

// Where a forward pass went wrong first: empty if every router saw finite logits, so that backward did.
std::string bad_routing(const StepResult& result, const model::ModelConfig& model) {
  size_t next = 0;
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    if (!model.is_moe(layer)) continue;
    const int64_t bad = result.bad_rows[next++];
    if (bad > 0)
      return fmt::format(", the router logits of {} tokens are not finite in layer {}, the first such", bad, layer);
  }
  return "";
}

// What must be known when the run ends in an exception or by the watchdog, whose thread reads it.
struct RunState {
  std::atomic<int64_t> committed = -1;  // step of the newest checkpoint that the run would resume from; -1: none
  std::atomic<bool> is_locked = false;  // on rank 0: no other run writes into the folder
  bool has_begun = false;  // the folder is this run's: before, a start can be refused and leave it as it was
};

class Trainer {
 public:
  Trainer(const Experiment& experiment, comm::World& world, RunState& state, Watchdog& watchdog);
  void start(const std::vector<std::string>& allowed, const Compute& compute, const TraceOptions& trace);
  ExitCode run(const Compute& compute);

 private:
  bool is_first_rank() const { return session_.mesh.all().rank() == 0; }
  void say(const std::string& text) const {
    if (is_first_rank()) Console::standard().line(text);
  }
  int loss_digits() const { return config_.train.dtype == DType::f64 ? 17 : 9; }
  std::string take_folder();
  void announce(const Compute& compute);
  StepFacts step(int64_t t);
  StepFacts traced_step(int64_t t);
  void note_bad_step(const StepFacts& facts);
  void evaluate_if_due(StepFacts& facts, bool is_last);
  void log_step(const StepFacts& facts, bool is_last);
  void note_first_step(int64_t t, const Compute& compute);
  // Step 0 needs no checkpoint: the config makes it.
  bool is_saved() const { return good_.step == std::max<int64_t>(state_.committed.load(), 0); }
  bool save();
  void save_and_plan_next();
  std::vector<data::Batch> read_batches();
  uint64_t data_hash(const std::vector<data::Batch>& batches) const;
  ExitCode end_on_request();
  ExitCode end(ExitCode code, metrics::Verdict verdict, const std::string& reason);

  const Experiment& experiment_;
  const ExperimentConfig& config_;
  RunState& state_;
  Watchdog& watchdog_;
  Session session_;
  Data data_;
  std::optional<data::Loader> valid_;
  Position position_;                              // of the last step
  Position good_;                                  // of the last step that was finite: what the weights in memory are
  std::unique_ptr<metrics::MetricsFile> metrics_;  // on rank 0
  std::unique_ptr<Progress> progress_;
  std::optional<Trace> trace_;
  int64_t bad_steps_ = 0, failed_saves_ = 0;  // in a row
  bool is_counting_told_ = false;
  int64_t next_save_ = 0;  // the first step that it is due at
};

Trainer::Trainer(const Experiment& experiment, comm::World& world, RunState& state, Watchdog& watchdog)
    : experiment_(experiment),
      config_(experiment.config),
      state_(state),
      watchdog_(watchdog),
      session_(config_, world),
      data_(open_data(config_, config_.data.train, "data.train", world.all())) {
  if (!config_.data.valid.empty()) valid_ = open_data(config_, config_.data.valid, "data.valid", world.all()).loader;
}

// Everything that can be refused comes before the folder is touched.
void Trainer::start(const std::vector<std::string>& allowed, const Compute& compute, const TraceOptions& trace) {
  position_ = good_ = start_from(config_, data_.fingerprint, allowed, session_);
  if (!trace.file.empty()) trace_.emplace(trace, position_.step, config_.train.steps, session_.mesh.all());
  next_save_ = (position_.step / config_.checkpoint.every + 1) * config_.checkpoint.every;
  const std::string remark = comm::on_rank_zero(session_.mesh.all(), [&] { return take_folder(); });
  state_.has_begun = true;
  state_.committed = std::min(state_.committed.load(), position_.step);
  if (!remark.empty()) say(remark);
  announce(compute);
}

// Rank 0: from here on the folder tells of this run, and of no history that it has left.
std::string Trainer::take_folder() {
  const std::string& dir = config_.run.dir;
  std::filesystem::remove(dir + "/verdict.json");
  const int64_t abandoned = checkpoint::abandon_after(dir, position_.step);
  metrics_ = std::make_unique<metrics::MetricsFile>(dir + "/metrics.jsonl", position_.step);
  replace_file(dir + "/config.yaml", experiment_.resolved());
  if (abandoned == 0) return "";
  return fmt::format("abandoned  {} checkpoints of steps after {}; they are kept as {}/checkpoints/abandoned-*",
                     abandoned, position_.step, dir);
}

std::vector<data::Batch> Trainer::read_batches() {
  const Range range("data", RangeKind::phase);
  const comm::Group& data = session_.mesh.data();
  return data_.loader.step(position_.consumed_samples, config_.train.global_batch_size, config_.train.micro_batch_size,
                           data.rank(), data.size());
}

uint64_t Trainer::data_hash(const std::vector<data::Batch>& batches) const {
  const comm::Group& data = session_.mesh.data();
  std::vector<uint64_t> mine;
  for (const data::Batch& batch : batches)
    mine.insert(mine.end(), batch.sample_hashes.begin(), batch.sample_hashes.end());
  std::vector<uint64_t> by_rank(mine.size() * static_cast<size_t>(data.size())), in_order;
  data.all_gather(mine.data(), by_rank.data(), static_cast<int64_t>(mine.size()), DType::i64).wait();
  const auto micro = static_cast<size_t>(config_.train.micro_batch_size);
  for (size_t a = 0; a < batches.size(); ++a)
    for (size_t r = 0; r < static_cast<size_t>(data.size()); ++r)
      for (size_t i = 0; i < micro; ++i) in_order.push_back(by_rank[r * mine.size() + a * micro + i]);
  return data::combine_hashes(in_order);
}

StepFacts Trainer::step(int64_t t) {
  const std::string name = fmt::format("step {}", t);
  const Watchdog::Section section(watchdog_, name);
  const Range range(name, RangeKind::phase);
  const double begin = now();
  const auto batches = read_batches();
  StepFacts facts;
  facts.step = t;
  facts.lr = optim::learning_rate(config_.schedule, t, config_.train.steps);
  facts.result = train_step(session_, batches, t, facts.lr);
  facts.data_hash = data_hash(batches);
  std::array<int64_t, 2> largest{Allocator::current()->total().peak_bytes, stop_requested() ? 1 : 0};
  session_.mesh.all().all_reduce(largest.data(), largest.size(), DType::i64, comm::Reduce::max).wait();
  facts.memory_bytes = largest[0];
  facts.stop_requested = largest[1] > 0;
  facts.seconds = now() - begin;
  position_.step = t;
  position_.consumed_samples += config_.train.global_batch_size;
  facts.tokens = position_.consumed_samples * config_.data.sequence_length;
  return facts;
}

StepFacts Trainer::traced_step(int64_t t) {
  if (!trace_ || !trace_->covers(t)) return step(t);
  trace_->begin_step();
  StepFacts facts = step(t);
  const Watchdog::Section section(watchdog_, "writing the trace");
  trace_->end_step(t);
  if (t == trace_->last() && trace_->is_whole()) say(fmt::format("traced {}", trace_->describe()));
  return facts;
}

void Trainer::note_bad_step(const StepFacts& facts) {
  bad_steps_ = facts.result.is_finite ? 0 : bad_steps_ + 1;
  if (facts.result.is_finite) {
    good_ = position_;
    return;
  }
  const int64_t end = position_.consumed_samples;
  log()->log(is_first_rank() ? spdlog::level::err : spdlog::level::info,  // on the console once
             "step {}: loss {} and gradient norm {} are not both finite{}; no rank changed a weight (samples {} to {}, "
             "{} of {} in a row)",
             facts.step, facts.result.loss, facts.result.grad_norm, bad_routing(facts.result, config_.model),
             end - config_.train.global_batch_size, end - 1, bad_steps_, config_.train.max_bad_steps);
}

void Trainer::evaluate_if_due(StepFacts& facts, bool is_last) {
  const bool is_due = is_last || (config_.eval.every > 0 && facts.step % config_.eval.every == 0);
  if (!valid_ || !is_due) return;
  const Watchdog::Section section(watchdog_, "evaluation");
  const Range range("evaluation", RangeKind::phase);
  facts.evaluation = evaluate(session_.model, session_.mesh, *valid_,
                              config_.eval.batches * config_.train.global_batch_size, config_.train.micro_batch_size);
  say(fmt::format("eval at step {}: loss {:.{}g}, {:.4f} bits per byte ({} held-out samples)", facts.step,
                  facts.evaluation->loss, loss_digits(), facts.evaluation->bits_per_byte, facts.evaluation->samples));
}

void Trainer::log_step(const StepFacts& facts, bool is_last) {
  if (!is_first_rank()) return;
  const int64_t steps = config_.train.steps;
  metrics::StepLine columns = line_of(facts, steps);
  columns.loss_digits = loss_digits();
  columns.seconds_left = progress_->seconds_left(facts.step);
  const std::string line = metrics::step_line(columns);
  const int64_t line_every = std::max(config_.metrics.every, (steps + 49) / 50);
  if (is_last || facts.step == 1 || facts.step % line_every == 0 || !facts.result.is_finite)
    Console::standard().line(line);
  log()->info("{}", line);
  if (facts.result.counting_seconds && !std::exchange(is_counting_told_, true))
    Console::standard().line(
        fmt::format("a pass that only counts, for balance scope global_batch, took {:.3f} of the step's {:.3f} seconds",
                    *facts.result.counting_seconds, facts.seconds));
  progress_->update(facts.step, fmt::format("loss {:.4f}", facts.result.loss));
  if (!is_last && facts.step % config_.metrics.every != 0 && !facts.evaluation) return;
  if (!metrics_->append(record_of(facts, session_)))
    log()->warn("metrics.jsonl: step {} could not be written", facts.step);
}

// The state as of the last step that changed it: a bad step has changed nothing, and a resume meets its samples again.
bool Trainer::save() {
  const Watchdog::Section section(watchdog_, "saving");
  const Range range("saving", RangeKind::phase);
  checkpoint::require_equal_replicas(session_.mesh.all(), session_.replicas(), good_.step);
  checkpoint::Meta meta;
  meta.step = good_.step;
  meta.consumed_samples = good_.consumed_samples;
  meta.program_version = program_details();
  meta.config = experiment_.resolved();
  meta.data_fingerprint = data_.fingerprint;
  meta.layout = session_.mesh.describe();
  fault_in_save(session_, good_.step);
  const auto result =
      checkpoint::save(config_.run.dir, session_.mesh.all(), session_.entries(), meta, config_.checkpoint.keep);
  if (!result.message.empty() && is_first_rank()) log()->warn("{}", result.message);
  if (!result.saved) return false;
  state_.committed = good_.step;
  say(fmt::format("saved {} ({}, {:.1f} s)", result.folder.string(), format_bytes(static_cast<double>(result.bytes)),
                  result.seconds));
  return true;
}

void Trainer::save_and_plan_next() {
  const int64_t t = position_.step, every = config_.checkpoint.every;
  const bool is_done = is_saved() || save();
  failed_saves_ = is_done ? 0 : failed_saves_ + 1;
  next_save_ = is_done ? (t / every + 1) * every : t + std::min(every, kStepsToRetry);
}

ExitCode Trainer::end(ExitCode code, metrics::Verdict verdict, const std::string& reason) {
  progress_.reset();
  if (is_first_rank()) metrics::write_verdict(config_.run.dir, verdict, state_.committed, reason);
  return code;
}

void Trainer::announce(const Compute& compute) {
  const int64_t every = config_.checkpoint.every, left = std::max<int64_t>(config_.train.steps - position_.step, 0);
  const Disk disk = disk_of(config_.run.dir, session_, (left + every - 1) / every);
  const Allocator& memory = *Allocator::current();
  BytesByPurpose in_step = expected_memory(config_, session_.model, session_.mesh).by_purpose();
  constexpr auto kBuffers = static_cast<size_t>(Purpose::buffers);
  in_step[kBuffers] += memory.stats(Purpose::buffers).live_bytes;  // those that stay
  if (!is_first_rank()) return;
  Console::standard().line(
      describe_run(config_, session_, compute) +
      fmt::format("data       {} samples an epoch\ndisk       {}\n", data_.loader.num_samples(), disk.describe()) +
      (trace_ ? fmt::format("trace      {}\n\n", trace_->describe()) : "\n") +
      metrics::memory_table(memory, "memory", in_step));
  if (disk.is_short())
    log()->warn("{}: {}, and {} more will lie there; saving may fail", config_.run.dir, disk.describe(),
                disk.num_to_come);
  if (config_.schedule.warmup_steps > config_.train.steps)
    log()->warn("the rate does not reach schedule.lr: train.steps={} end within schedule.warmup_steps={}",
                config_.train.steps, config_.schedule.warmup_steps);
  if (session_.fault.rank >= 0) log()->warn("SWITCHYARD_FAULT is set: this run makes a mistake on purpose, for tests");
}

ExitCode Trainer::end_on_request() {
  if (!is_saved())
    return end(ExitCode::io, metrics::Verdict::failed, "stop requested, but the checkpoint could not be saved");
  const bool resumes = config_.checkpoint.resume != "never";
  say(fmt::format("stopped on request after step {}; the same command resumes{}", good_.step,
                  resumes ? "" : ", with checkpoint.resume=auto"));
  return end(ExitCode::stopped, metrics::Verdict::resume, "stop requested");
}

// What a step takes, with what its tokens were exchanged through, and how its products are made.
void Trainer::note_first_step(int64_t t, const Compute& compute) {
  say(fmt::format("\n{}", metrics::memory_table(*Allocator::current(), fmt::format("after step {}", t))));
  if (const std::string products = compute.describe_products(); !products.empty())
    log()->info("products by cuBLASLt, as chosen in step {}:\n{}", t, products);
}

ExitCode Trainer::run(const Compute& compute) {
  const int64_t steps = config_.train.steps, max_failures = config_.checkpoint.max_failures;
  if (is_first_rank()) progress_ = std::make_unique<Progress>("train", steps, Unit::steps, 0, position_.step);
  if (position_.step >= steps) {
    say(fmt::format("at step {} of {}: nothing is left to train; raise train.steps, or choose another run.dir",
                    position_.step, steps));
    save_and_plan_next();  // what another run has trained is kept here
  }
  const int64_t first = position_.step + 1;
  for (int64_t t = first; t <= steps; ++t) {
    StepFacts facts = traced_step(t);
    note_bad_step(facts);
    const bool is_too_bad = bad_steps_ >= config_.train.max_bad_steps;
    const bool is_last = t == steps || facts.stop_requested || is_too_bad;
    if (facts.result.is_finite) evaluate_if_due(facts, t == steps);
    log_step(facts, is_last);
    if (t == first) note_first_step(t, compute);
    if (is_last || t >= next_save_) save_and_plan_next();
    if (is_too_bad)
      return end(ExitCode::not_finite, metrics::Verdict::failed,
                 fmt::format("{} steps in a row were not finite, the last is {}", bad_steps_, t));
    if (max_failures > 0 && failed_saves_ >= max_failures)
      return end(ExitCode::io, metrics::Verdict::failed,
                 fmt::format("{} checkpoints in a row could not be saved", failed_saves_));
    if (facts.stop_requested && t < steps) return end_on_request();
  }
  if (bad_steps_ > 0) return end(ExitCode::not_finite, metrics::Verdict::failed, "the last step was not finite");
  if (!is_saved()) return end(ExitCode::io, metrics::Verdict::failed, "the last checkpoint could not be saved");
  return end(ExitCode::finished, metrics::Verdict::finished, fmt::format("{} steps", steps));
}

// What this rank does when its watchdog expires: it says why, and the verdict is written where the folder is this
// run's.
std::function<void(const std::string&)> last_words(const std::string& dir, const comm::World& world,
                                                   const RunState& state) {
  return [&dir, &world, &state, logger = log()](const std::string& words) {
    const std::string reason = fmt::format("{}; last collective: {}", words, world.all().last_started());
    logger->critical("{}", reason);
    if (state.is_locked) metrics::write_verdict(dir, metrics::Verdict::failed, state.committed, reason);
  };
}

// Ranks agree on the run, and its folder is theirs as long as the lock lives (on rank 0). What is written there,
// verdict and log, may be another run's before.
std::unique_ptr<checkpoint::RunLock> take_run(Experiment& experiment, comm::World& world, RunState& state) {
  const std::string& dir = experiment.config.run.dir;
  set_up_log({.rank = world.rank()});
  Watchdog watchdog(static_cast<double>(experiment.config.run.watchdog), last_words(dir, world, state));
  const Watchdog::Section section(watchdog, "the start");
  comm::together(world.all(), [&] { fit_to_world(experiment, world); });
  comm::require_same(world.all(), ExitCode::usage, "the resolved config", experiment.resolved());
  std::unique_ptr<checkpoint::RunLock> lock;
  state.committed = std::stoll(comm::on_rank_zero(world.all(), [&] {
    lock = std::make_unique<checkpoint::RunLock>(dir);
    checkpoint::clean(dir);
    state.committed = checkpoint::newest_step(dir);
    state.is_locked = true;
    return std::to_string(state.committed);
  }));
  comm::together(world.all(), [&] { set_up_log({.folder = dir + "/log", .rank = world.rank()}); });
  return lock;
}

}  // namespace

ExitCode run_training(const Experiment& given, comm::World& world, const std::vector<std::string>& allowed,
                      const TraceOptions& trace) {
  Experiment experiment = given;
  const ExperimentConfig& config = experiment.config;
  const std::string& dir = config.run.dir;
  RunState state;
  const auto lock = take_run(experiment, world, state);
  Watchdog watchdog(static_cast<double>(config.run.watchdog), last_words(dir, world, state),
                    rank_log_path(dir + "/log", world.rank()));
  try {
    std::optional<Watchdog::Section> section(std::in_place, watchdog, "the start");
    const Compute compute(config.run, config.train.dtype, world);
    Trainer trainer(experiment, world, state, watchdog);
    trainer.start(allowed, compute, trace);
    section.reset();
    return trainer.run(compute);
  } catch (const std::exception& error) {
    const bool is_refused = !state.has_begun && code_of(error) == ExitCode::usage;
    const bool is_shared = dynamic_cast<const SharedError*>(&error) != nullptr;
    if (!is_refused && (!is_shared || world.rank() == 0))
      metrics::write_verdict(dir, metrics::Verdict::failed, state.committed, error.what());
    throw;
  }
}

}  // namespace switchyard::train
