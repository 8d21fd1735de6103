// How a run ends when it is asked to, when a rank dies, and when a rank hangs.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

class Stop : public testing::Test {
 protected:
  // The run has saved the very step after which it stopped, says so, and goes on from there.
  void expect_stopped(const Train& run, const Outcome& outcome, int code = 75) {
    expect_outcome(outcome, code);
    const std::vector<int64_t> steps = saved_steps(dir_);
    ASSERT_FALSE(steps.empty()) << outcome.text();
    EXPECT_EQ(steps.back(), last_step(dir_));
    expect_verdict(dir_, "resume", steps.back());
    expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"), 5);
  }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST_F(Stop, SignalsToAProcessMeanACheckpointAndCode75) {
  for (const int signal : {SIGUSR1, SIGTERM}) {
    SCOPED_TRACE(strsignal(signal));
    fs::remove_all(dir_);
    fs::remove_all(scratch_.path("straight"));
    Process process(endless().command(dir_));
    ASSERT_TRUE(reaches_step(dir_, process, 3)) << process.wait(0).text();
    process.send(signal);
    expect_stopped(endless(), process.wait());
  }
}

bool takes_usr1(pid_t process) {
  const std::string status = read_text(fmt::format("/proc/{}/status", process));
  const size_t at = status.find("SigCgt:");
  return at != std::string::npos && (std::stoull(status.substr(at + 7), nullptr, 16) >> (SIGUSR1 - 1) & 1) != 0;
}

TEST_F(Stop, ARequestDuringStartUpStopsAfterTheFirstStep) {
  const Train run = endless(2);
  Process process(run.command(dir_));
  const pid_t rank = process.rank(1);
  ASSERT_TRUE(wait_until([&] { return process.is_over() || takes_usr1(rank); }));
  kill(rank, SIGUSR1);
  expect_stopped(run, process.wait());
}

TEST_F(Stop, RequestsDuringASaveLeaveItWhole) {
  const Train run = endless(1, {"checkpoint.every=1"});
  Process process(run.command(dir_));
  ASSERT_TRUE(saves_a_checkpoint(dir_, process)) << process.wait(0).text();
  while (!process.is_over()) process.send(SIGUSR1);
  expect_stopped(run, process.wait());
}

TEST_F(Stop, Usr1ToMpirunReachesAllRanks) {
  const Train run = endless(2, {"parallel.expert=2"});
  Process process(run.command(dir_));
  ASSERT_TRUE(reaches_step(dir_, process, 3)) << process.wait(0).text();
  process.send(SIGUSR1);
  expect_stopped(run, process.wait());
}

TEST_F(Stop, Usr1ToOneRankStopsAllAfterTheSameStep) {
  const Train run = endless(2);
  Process process(run.command(dir_));
  ASSERT_TRUE(reaches_step(dir_, process, 3)) << process.wait(0).text();
  kill(process.rank(1), SIGUSR1);
  kill(process.rank(1), SIGUSR1);  // again: the handler only sets a flag
  expect_stopped(run, process.wait());
}

// The scripts turn what interrupts them into the request to save; mpirun's code is the ranks'.
TEST_F(Stop, SignalsToTheScriptReachTheRanksAsARequest) {
  for (const int signal : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(strsignal(signal));
    fs::remove_all(dir_);
    fs::remove_all(scratch_.path("straight"));
    const Command own = endless().command(dir_);
    Process process(Command{source_file("launch/local.sh"), "2"} + Command(own.begin() + 2, own.end()),
                    {{"SWITCHYARD", program()}});
    ASSERT_TRUE(reaches_step(dir_, process, 3)) << process.wait(0).text();
    process.send(signal);
    expect_stopped(endless(2), process.wait());
  }
}

// mpirun hands SIGTERM on after the time that it leaves for ending, and ends with 1 itself: the verdict is the truth.
TEST_F(Stop, TermToMpirunIsTakenWhereThereIsTime) {
  const Train run = endless(2);
  Command command = run.command(dir_);
  const Command grace{"--mca", "odls_base_sigkill_timeout", "3"};
  command.insert(command.begin() + 1, grace.begin(), grace.end());
  Process process(command);
  ASSERT_TRUE(reaches_step(dir_, process, 3)) << process.wait(0).text();
  process.send(SIGTERM);
  expect_stopped(run, process.wait(), 1);
}

TEST_F(Stop, ADeadRankEndsTheJobAndResumeIsBitIdentical) {
  const Train run = endless(2, {"parallel.expert=2"});
  Process process(run.command(dir_));
  ASSERT_TRUE(saves_a_checkpoint(dir_, process)) << process.wait(0).text();
  kill(process.rank(1), SIGKILL);
  const auto has_ended = [&] { return process.is_over() && process.family().empty(); };
  ASSERT_TRUE(wait_until(has_ended, kLimitOfAnError)) << "processes are left";
  EXPECT_EQ(process.wait().code, 128 + SIGKILL);
  EXPECT_FALSE(verdict_of(dir_).is_object());
  expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"));
}

// Rank 3 is stopped: all others say in their logs what they wait for, and where.
TEST_F(Stop, AHungRankEndsTheJobByTheWatchdogWithAStackOfAllOthers) {
  const Train run = endless(4, {"parallel.expert=2", "run.watchdog=5"});
  Process process(run.command(dir_));
  const pid_t hung = process.rank(3);
  ASSERT_TRUE(reaches_step(dir_, process, 22)) << process.wait(0).text();
  expect_end_by_watchdog(process, hung, 5, {"run.watchdog=5", "last collective: ", ", number ", "switchyard("});
  std::string logs;
  for (const int rank : {0, 1, 2}) {
    const std::string log = read_text(fmt::format("{}/log/rank-{:04}.log", dir_, rank));
    for (const char* part : {"run.watchdog=5", "last collective: ", ", number ", "switchyard("})
      EXPECT_NE(log.find(part), std::string::npos) << rank << " has no '" << part << "' in its log";
    logs += log;
  }
  EXPECT_NE(logs.find("waits for rank 3"), std::string::npos) << logs;
  expect_verdict(dir_, "failed", saved_steps(dir_).back());
}

// Before the ranks have their logs, and after: the weights of this model take long to make.
TEST_F(Stop, ARankThatHangsInTheStartEndsTheJobToo) {
  const Train run = endless(2, {"model.vocab_size=32768", "model.hidden_size=512", "run.watchdog=3"});
  for (const char* sign : {"/lock", "/log/rank-0001.log"}) {
    SCOPED_TRACE(sign);
    fs::remove_all(dir_);
    Process process(run.command(dir_));
    const pid_t rank = process.rank(1);
    ASSERT_TRUE(wait_until([&] { return process.is_over() || fs::exists(dir_ + sign); }));
    expect_end_by_watchdog(process, rank, 3, {"the start took longer than run.watchdog=3"});
    EXPECT_EQ(last_step(dir_), 0);
    expect_verdict(dir_, "failed", -1);
  }
}

}  // namespace
}  // namespace switchyard::test
