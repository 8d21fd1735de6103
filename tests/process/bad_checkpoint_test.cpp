// Damaged checkpoints and those of another model, as resume, eval and verify meet them.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

class BadCheckpoint : public testing::Test {
 protected:
  static constexpr int64_t kOld = 3, kNew = 6;
  static inline const Command kSettings{"schedule.kind=constant", "checkpoint.every=3", "eval.every=0"};

  void SetUp() override { must_train({"tiny", 1, kSettings + Command{"train.steps=6"}}, dir_); }
  std::string file(int64_t step, const char* name) const { return checkpoint_of(dir_, step) + "/" + name; }
  static void flip_byte(const std::string& path) {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(fs::file_size(path) / 2));
    const char byte = static_cast<char>(stream.get());
    stream.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
    stream.put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(stream.good());
  }
  // Resume goes back to the older checkpoint, says why, and comes to the same end.
  void expect_stepped_over(const std::string& part) const {
    for (const int ranks : {1, 2}) {
      SCOPED_TRACE(ranks);
      const std::string copy = scratch_.path(fmt::format("copy-{}", ranks));
      fs::copy(dir_, copy, fs::copy_options::recursive);
      expect_outcome(train({"tiny", ranks, kSettings + Command{"train.steps=8"}}, copy), 0,
                     {"passed over", part, "resumed", checkpoint_of(copy, kOld)});
      EXPECT_EQ(metrics_of(copy).size(), 8u);
    }
  }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST_F(BadCheckpoint, WithAFlippedByteIsSteppedOverAndNamed) {
  flip_byte(file(kNew, "rank-00000.bin"));
  expect_stepped_over("step-00000006/rank-00000.bin");
  expect_outcome(run({program(), "checkpoint", "verify", dir_}), 65, {file(kNew, "rank-00000.bin")});
}

TEST_F(BadCheckpoint, WithAFlippedByteInItsManifestIsSteppedOverAndNamed) {
  flip_byte(file(kNew, "manifest"));
  expect_stepped_over("step-00000006/manifest");
}

TEST_F(BadCheckpoint, WithAMissingFileIsSteppedOverAndNamed) {
  fs::remove(file(kNew, "rank-00000.bin"));
  expect_stepped_over("step-00000006/rank-00000.bin");
}

TEST_F(BadCheckpoint, ThatIsNamedOrTheOnlyOneIsRefusedAndNothingIsTrained) {
  flip_byte(file(kOld, "rank-00000.bin"));
  flip_byte(file(kNew, "rank-00000.bin"));
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const Outcome outcome = train({"tiny", ranks, kSettings + Command{"train.steps=8"}}, dir_);
    expect_outcome(outcome, 65, {file(kOld, "rank-00000.bin"), file(kNew, "rank-00000.bin")});
    expect_one_message(outcome);
    EXPECT_EQ(outcome.out.find("step "), std::string::npos) << outcome.out;
    EXPECT_EQ(last_step(dir_), kNew) << "metrics of the run are kept";
    const Outcome evaluation = run(on_ranks(ranks, {program(), "eval", checkpoint_of(dir_, kNew)}));
    expect_outcome(evaluation, 65, {file(kNew, "rank-00000.bin")});
    expect_one_message(evaluation);
  }
  expect_outcome(run({program(), "generate", checkpoint_of(dir_, kNew)}), 65, {file(kNew, "rank-00000.bin")});
}

TEST_F(BadCheckpoint, OfAnotherModelIsRefusedWithTensorAndShapes) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const Train wider{"tiny", ranks, kSettings + Command{"train.steps=8", "model.hidden_size=64"}};
    const Outcome outcome = train(wider, dir_);
    expect_outcome(outcome, 65, {"model/embedding.weight", "(320, 32)", "(320, 64)"});
    expect_one_message(outcome);
  }
  const Train deeper{"tiny", 1, kSettings + Command{"train.steps=8", "model.num_layers=3"}};
  expect_outcome(train(deeper, dir_), 65, {"model/layers.2."});
  const Train wide{"tiny", 1, kSettings + Command{"train.steps=8", "train.dtype=f64"}};
  expect_outcome(train(wide, dir_), 65, {"f32", "f64"});
}

// Every rank sees a folder of its own, as on nodes with disks of their own.
TEST_F(BadCheckpoint, AnotherOneOnAnotherNodeIsRefusedWithBoth) {
  const std::string other = scratch_.path("other"), here = "/proc/self/cwd/run";
  must_train({"tiny", 1, kSettings + Command{"train.steps=6", "run.seed=2"}}, other);
  for (const auto& [node, dir] : {std::pair("a", dir_), {"b", other}}) {
    fs::create_directory(scratch_.path(node));
    fs::copy(dir, scratch_.path(node) + "/run", fs::copy_options::recursive);
  }
  Command resume = Train{"tiny", 1, kSettings + Command{"train.steps=8"}}.command(here);
  resume[2] = fs::absolute(resume[2]);
  for (const Command& command : {resume, Command{program(), "eval", here},
                                 Command{program(), "convert", "to-hf", checkpoint_of(here, kNew), "out"}}) {
    SCOPED_TRACE(command[1]);
    const Outcome outcome = run(
        as_ranks({Command{"--wdir", scratch_.path("a")} + command, Command{"--wdir", scratch_.path("b")} + command}));
    expect_outcome(outcome, 65,
                   {"step-00000006/manifest must be the same on all ranks", "rank 0: step 6", "rank 1: step 6"});
    expect_one_message(outcome);
  }
}

}  // namespace
}  // namespace switchyard::test
