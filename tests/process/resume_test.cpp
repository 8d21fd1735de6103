// A run that is killed at any instant goes on as if it had not been, also on other numbers of ranks; and what may not
// change between the runs of one folder is refused by name.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

class Resume : public testing::Test {
 protected:
  // Trains until the first checkpoint, and kills every rank wherever it is.
  void train_and_kill(const Train& run) const {
    Process process(run.command(dir_));
    ASSERT_TRUE(saves_a_checkpoint(dir_, process)) << process.wait(0).text();
    for (const pid_t each : process.family()) kill(each, SIGKILL);
    EXPECT_EQ(process.wait().code, 128 + SIGKILL);
    EXPECT_TRUE(wait_until([&] { return process.family().empty(); }));
    EXPECT_FALSE(verdict_of(dir_).is_object()) << "a killed run has no verdict";
  }
  void copy_run(const std::string& to) const { fs::copy(dir_, to, fs::copy_options::recursive); }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST_F(Resume, AfterAKillIsBitIdentical) {
  const Train runs[] = {
      endless(), endless(1, {"train.dtype=bf16", "train.recompute=full"}),
      endless(2, {"train.dtype=bf16", "parallel.expert=2"}),  // masters are sharded
      endless(2, {"train.dtype=bf16", "parallel.zero=0"}),    // and here whole on both ranks, each of which loads half
  };
  for (const Train& run : runs) {
    SCOPED_TRACE(fmt::format("{} ranks, {}", run.ranks, fmt::join(run.overrides, " ")));
    fs::remove_all(dir_);
    fs::remove_all(scratch_.path("straight"));
    ASSERT_NO_FATAL_FAILURE(train_and_kill(run));
    expect_resume_is_bit_identical(run, dir_, scratch_.path("straight"));
  }
}

TEST_F(Resume, TwiceAndInAnotherEpochIsBitIdentical) {
  const Command short_epochs{"data.sequence_length=512", "train.global_batch_size=8", "train.micro_batch_size=4"};
  const Train run{"tiny", 1, Command{"schedule.kind=constant", "checkpoint.every=1", "eval.every=0"} + short_epochs};
  for (const int64_t steps : {2, 5, 14}) must_train(until(steps, run), dir_);  // an epoch has about 50 samples
  must_train(until(14, run), scratch_.path("straight"));
  expect_same_metrics(dir_, scratch_.path("straight"));
  expect_same_checkpoint(dir_, scratch_.path("straight"));
}

TEST_F(Resume, OnOtherNumbersOfRanksGoesOnTheSameWay) {
  const Command settings{"schedule.kind=constant", "eval.every=0"};
  const Train two_ranks{"tiny", 2, Command{"parallel.expert=2"} + settings};
  must_train(until(10, two_ranks), dir_);
  const std::vector<std::pair<std::string, Train>> rows{
      {"one", {"tiny", 1, settings}},
      {"four-by-two", {"tiny", 4, Command{"parallel.expert=2"} + settings}},
      {"four-by-four", {"tiny", 4, Command{"parallel.expert=4"} + settings}},
  };
  for (const auto& [name, row] : rows) copy_run(scratch_.path(name));
  must_train(until(30, two_ranks), dir_);
  for (const auto& [name, row] : rows) {
    SCOPED_TRACE(name);
    const std::string dir = scratch_.path(name);
    must_train(until(30, row), dir);
    EXPECT_LE(largest_difference(metrics_of(dir), metrics_of(dir_), "loss"), 1e-5);
    EXPECT_EQ(metrics_of(dir).back().at("data_hash"), metrics_of(dir_).back().at("data_hash"));
  }
}

TEST_F(Resume, FromAnotherRunsCheckpointTakesItsStateAndPlace) {
  must_train({"tiny", 1, {"train.steps=10", "schedule.kind=constant"}}, dir_);
  const Train goes_on{"tiny", 1, {"train.steps=14", "schedule.kind=constant"}};
  const std::string other = scratch_.path("other");
  must_train(goes_on.with({"checkpoint.resume=" + checkpoint_of(dir_, 10)}), other);
  must_train(goes_on, dir_);
  expect_same_checkpoint(checkpoint_of(other, 14), checkpoint_of(dir_, 14));
  EXPECT_EQ(metrics_of(other).front().at("step"), 11);
}

// What a user may look at to know how the run stands.
std::string state_of(const std::string& dir) {
  std::string state;
  for (const char* name : {"config.yaml", "verdict.json", "metrics.jsonl"}) state += read_text(dir + "/" + name);
  for (const int64_t step : saved_steps(dir)) state += fmt::format("{} ", step);
  return state;
}

TEST_F(Resume, FromAnotherRunsCheckpointIsRefusedWhereThereAreOwnOnes) {
  const std::string other = scratch_.path("other");
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  must_train({"tiny", 1, {"train.steps=1"}}, other);
  const std::string before = state_of(dir_);
  expect_outcome(train({"tiny", 1, {"train.steps=3", "checkpoint.resume=" + other}}, dir_), 64,
                 {"checkpoint.resume=" + other, dir_, "step 2", "run.dir"});
  EXPECT_EQ(state_of(dir_), before);
}

// A path is where a run begins: a scheduler that repeats the command after a stop neither goes back nor is refused.
TEST_F(Resume, TheSameCommandGoesOnWhereverTheRunBegan) {
  const Train run{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=2", "checkpoint.keep=9", "eval.every=0"}};
  must_train(until(4, run), dir_);
  const std::string other = scratch_.path("other");
  for (const std::string& dir : {other, dir_}) {
    SCOPED_TRACE(dir == dir_ ? "from an earlier step of its own" : "from another run");
    const Train again = run.with({"checkpoint.resume=" + checkpoint_of(dir_, 2)});
    expect_outcome(train(until(6, again), dir, {{"SWITCHYARD_FAULT", "error:5:0"}}), 70);
    EXPECT_EQ(last_step(dir), 4);
    const Outcome outcome = train(until(6, again), dir);
    expect_outcome(outcome, 0, {"resumed    " + checkpoint_of(dir, 4)});
    EXPECT_EQ(outcome.text().find("abandoned"), std::string::npos) << outcome.text();
    EXPECT_EQ(last_step(dir), 6);
  }
  expect_same_checkpoint(checkpoint_of(other, 6), checkpoint_of(dir_, 6));
}

TEST_F(Resume, FromAnEarlierStepLeavesTheLaterOnesBehind) {
  const Train run{"tiny", 1, {"schedule.kind=constant", "checkpoint.every=2", "checkpoint.keep=9", "eval.every=0"}};
  must_train(until(6, run), dir_);
  const Train back = run.with({"schedule.lr=1e-3", "checkpoint.resume=" + checkpoint_of(dir_, 2)});
  const std::string straight = scratch_.path("straight");
  expect_outcome(train(until(3, back), dir_), 0, {"resumed", "abandoned", "2 checkpoints of steps after 2"});
  EXPECT_EQ(saved_steps(dir_), (std::vector<int64_t>{2, 3}));
  expect_outcome(switchyard::test::run({program(), "eval", dir_, "--data", corpus().valid}), 0,
                 {checkpoint_of(dir_, 3)});
  expect_outcome(train(until(5, run.with({"schedule.lr=1e-3"})), dir_), 0,
                 {"resumed", checkpoint_of(dir_, 3), "after step 4 "});
  for (int64_t t = 1; t <= 5; ++t) EXPECT_EQ(metrics_of(dir_).at(static_cast<size_t>(t) - 1).at("step"), t);
  EXPECT_EQ(last_step(dir_), 5);
  must_train(until(5, back), straight);
  expect_same_checkpoint(checkpoint_of(dir_, 5), checkpoint_of(straight, 5));
  int abandoned = 0;
  for (const auto& entry : fs::directory_iterator(dir_ + "/checkpoints")) {
    if (!entry.path().filename().string().starts_with("abandoned-")) continue;
    expect_outcome(switchyard::test::run({program(), "checkpoint", "verify", entry.path()}), 0);
    ++abandoned;
  }
  EXPECT_EQ(abandoned, 2);
}

TEST_F(Resume, InitTakesTheWeightsAlone) {
  must_train({"tiny", 1, {"train.steps=10"}}, dir_);
  const std::string other = scratch_.path("other");
  must_train({"tiny", 1, {"train.steps=1", "checkpoint.init=" + dir_}}, other);
  const Json first = metrics_of(other).front();
  EXPECT_EQ(first.at("step"), 1);
  EXPECT_LT(first.at("loss").get<double>(), 0.9 * metrics_of(dir_).front().at("loss").get<double>());
}

struct Change {
  std::string override_text, flag;
  std::vector<std::string> parts;
};

TEST_F(Resume, AChangeOfWhatARunMeansIsRefusedUnlessItsFlagIsGiven) {
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  const std::string other_data = fmt::format("data.train=[{{path: '{}'}}]", corpus().valid);
  const std::vector<Change> changes{
      {"run.seed=7", "seed", {"run.seed", "1234", "7"}},
      {"data.sequence_length=16", "sequence_length", {"data.sequence_length", "32", "16"}},
      {"data.document_mask=true", "document_mask", {"data.document_mask", "false", "true"}},
      {"train.global_batch_size=16", "global_batch_size", {"train.global_batch_size", "8", "16"}},
      {"train.micro_batch_size=4", "micro_batch_size", {"train.micro_batch_size", "2", "4"}},
      {other_data, "data", {"data.train"}},
      {"model.moe.top_k=1", "model", {"model.moe.top_k", "2", "1"}},
      {"model.attention.rope.theta=5000", "model", {"model.attention.rope.theta", "10000", "5000"}},
      {"model.moe.balance=[{kind: bias}]", "model", {"model.moe.balance", "kind: switch", "kind: bias"}},
  };
  for (const Change& change : changes) {
    SCOPED_TRACE(change.override_text);
    const Train more{"tiny", 1, {"train.steps=3", change.override_text}};
    std::vector<std::string> parts = change.parts;
    parts.insert(parts.end(), {checkpoint_of(dir_, 2), "--allow-change " + change.flag});
    const std::string before = state_of(dir_);
    expect_outcome(train(more, dir_), 64, parts);
    EXPECT_EQ(state_of(dir_), before) << "a start that is refused changes nothing";
    const std::string copy = scratch_.path(change.override_text.substr(0, change.override_text.find('=')));
    copy_run(copy);
    expect_outcome(train(more.with({"--allow-change", change.flag}), copy), 0, {"resumed"});
  }
  const Train two{"tiny", 1, {"train.steps=3", "run.seed=2", "train.global_batch_size=16"}};
  expect_outcome(train(two.with({"--allow-change", "seed"}), dir_), 64, {"--allow-change global_batch_size"});
  expect_outcome(train(two.with({"--allow-change", "seed,global_batch_size"}), dir_), 0, {"resumed"});
}

TEST_F(Resume, SaysWhichSettingsAreOthersNow) {
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  expect_outcome(train({"tiny", 1, {"train.steps=3", "schedule.lr=0.002"}}, dir_), 0,
                 {"changed    train.steps: 3, was 2\n", "changed    schedule.lr: 0.002, was "});
  const Outcome same = train({"tiny", 1, {"train.steps=3", "schedule.lr=0.002"}}, dir_);
  expect_outcome(same, 0, {"resumed"});
  EXPECT_EQ(count_of(same.text(), "changed "), 0) << same.text();
}

TEST_F(Resume, AVocabularyOfAnotherSizeIsRefusedAndNoFlagAllowsIt) {
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  const Train more{"tiny", 1, {"train.steps=3", "model.vocab_size=384"}};
  const std::string before = state_of(dir_);
  const Outcome outcome = train(more, dir_);
  expect_outcome(outcome, 64, {"model.vocab_size was 320", checkpoint_of(dir_, 2), "384", "cannot change its size"});
  EXPECT_EQ(count_of(outcome.text(), "--allow-change"), 0) << outcome.text();
  EXPECT_EQ(state_of(dir_), before);
  expect_outcome(train(more.with({"--allow-change", "vocab_size"}), dir_), 64, {"--allow-change", "vocab_size"});
}

TEST_F(Resume, NeverAndPathsWithoutACheckpointAreRefusedWithTheRemedy) {
  must_train({"tiny", 1, {"train.steps=2"}}, dir_);
  expect_outcome(train({"tiny", 1, {"train.steps=3", "checkpoint.resume=never"}}, dir_), 64,
                 {"checkpoint.resume=never", dir_, "step 2", "run.dir"});
  const std::string nowhere = scratch_.path("nowhere");
  for (const char* key : {"checkpoint.resume", "checkpoint.init"})
    expect_outcome(train({"tiny", 1, {fmt::format("{}={}", key, nowhere)}}, scratch_.path("other")), 65, {nowhere});
}

}  // namespace
}  // namespace switchyard::test
