// Runs without an end of their own. The learning rate is constant, so step n is the same however many steps there are
// to be, and a run that was stopped anywhere can be compared with one that went straight to the same step.
#pragma once

#include "tests/support/runs.h"

namespace switchyard::test {

inline Train endless(int ranks = 1, const Command& overrides = {}) {
  const Command own{"train.steps=1000000", "schedule.kind=constant", "checkpoint.every=20", "eval.every=0"};
  return {"tiny", ranks, own + overrides};
}
inline Train until(int64_t steps, const Train& run) { return run.with({fmt::format("train.steps={}", steps)}); }

inline bool reaches_step(const std::string& dir, Process& process, int64_t step) {
  wait_until([&] { return process.is_over() || last_step(dir) >= step; });
  return last_step(dir) >= step;
}
inline bool saves_a_checkpoint(const std::string& dir, Process& process) {
  wait_until([&] { return process.is_over() || !saved_steps(dir).empty(); });
  return !saved_steps(dir).empty();
}

// The run in `dir`, resumed for `more` steps after its last checkpoint, is the same as one that was never stopped.
inline void expect_resume_is_bit_identical(const Train& run, const std::string& dir, const std::string& scratch_dir,
                                           int64_t more = 20) {
  ASSERT_FALSE(saved_steps(dir).empty());
  const int64_t steps = saved_steps(dir).back() + more;
  const Outcome resumed = train(until(steps, run), dir);
  expect_outcome(resumed, 0, {"resumed", checkpoint_of(dir, steps - more)});
  expect_verdict(dir, "finished", steps);
  must_train(until(steps, run), scratch_dir);
  expect_same_metrics(dir, scratch_dir);
  expect_same_checkpoint(checkpoint_of(dir, steps), checkpoint_of(scratch_dir, steps));
}

}  // namespace switchyard::test
