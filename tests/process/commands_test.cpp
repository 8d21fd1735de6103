// checkpoint show | verify | diff, data inspect, and config --resolved, as a user sees them.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

class CheckpointCommand : public testing::Test {
 protected:
  void SetUp() override { must_train({"tiny", 1, {"train.steps=4", "checkpoint.every=2"}}, dir_); }
  static Outcome checkpoint(const Command& words) { return run(Command{program(), "checkpoint"} + words); }

  Scratch scratch_;
  std::string dir_ = scratch_.path("run");
};

TEST(CommandLine, WordsThatAreNoCommandAreAnsweredWithThoseThatAre) {
  expect_outcome(run({program(), "trian", "x.yaml"}), 64, {"no command 'switchyard trian'", "train", "generate"});
  expect_outcome(run({program(), "bench", "roff"}), 64, {"no command 'switchyard bench roff'", "roof, step, dispatch"});
  expect_outcome(run({program(), "train"}), 64, {"switchyard: ", "see switchyard train --help"});
  expect_outcome(run({program(), "--help"}), 0, {"train"});
  expect_outcome(run({program(), "config", "configs/quickstart.yaml", "--docs"}), 64, {"config excludes --docs"});
}

TEST(CommandLine, HelpFitsATerminal) {
  const std::vector<Command> commands{{},
                                      {"train"},
                                      {"eval"},
                                      {"generate"},
                                      {"data"},
                                      {"data", "tokenize"},
                                      {"data", "inspect"},
                                      {"checkpoint"},
                                      {"checkpoint", "show"},
                                      {"config"},
                                      {"bench"},
                                      {"bench", "roof"},
                                      {"bench", "step"},
                                      {"bench", "dispatch"},
                                      {"convert", "from-hf"},
                                      {"convert", "to-hf"},
                                      {"forward"},
                                      {"compare"},
                                      {"verify"}};
  for (const Command& command : commands) {
    const Outcome help = run(Command{program()} + command + Command{"--help"});
    expect_outcome(help, 0, {"Usage: "});
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), 100u) << fmt::format("{}", fmt::join(command, " ")) << ": " << line;
  }
}

TEST_F(CheckpointCommand, ShowTellsStateSettingsAndTensors) {
  expect_outcome(checkpoint({"show", dir_}), 0,
                 {checkpoint_of(dir_, 4), "step 4, 32 samples consumed", "layout 1 rank: data 1, experts split over 1",
                  "hidden_size: 32", "\n  model ", "\n  optimizer/exp_avg ", "\n  buffer ", " tensors, "});
  expect_outcome(checkpoint({"show", dir_, "--tensors"}), 0,
                 {"model/embedding.weight", "optimizer/exp_avg/embedding.weight", "buffer/", "(320, 32), 1 slice\n"});
  expect_outcome(checkpoint({"show", checkpoint_of(dir_, 2)}), 0, {"step 2, 16 samples consumed"});
}

TEST_F(CheckpointCommand, VerifyTellsOfEveryCheckpointOfARun) {
  expect_outcome(checkpoint({"verify", dir_}), 0, {checkpoint_of(dir_, 2), checkpoint_of(dir_, 4), "whole"});
}

TEST_F(CheckpointCommand, DiffEndsWith1WhereContentDiffers) {
  expect_outcome(checkpoint({"diff", checkpoint_of(dir_, 2), checkpoint_of(dir_, 4)}), 1,
                 {"step: 2 and 4", "consumed samples: 16 and 32", "model/embedding.weight"});
  expect_outcome(checkpoint({"diff", dir_, checkpoint_of(dir_, 4)}), 0, {"no byte differs"});
}

TEST(DataCommand, InspectShowsCountsLengthsAndDocuments) {
  const Command inspect{program(), "data", "inspect", corpus().train};
  expect_outcome(
      run(inspect + Command{"--documents", "1"}), 0,
      {corpus().train + ": ", "tokens of type u16", "fingerprint idx:", "tokens per document", "document 0 ("});
  const Outcome none = run(inspect + Command{"--documents", "0"});
  expect_outcome(none, 0, {"tokens per document"});
  EXPECT_EQ(none.out.find("document 0"), std::string::npos) << none.out;
}

// Without the remarks about where each value came from.
std::string without_remarks(const std::string& text) {
  std::string plain;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t end =
        line.find_last_not_of(' ', line.find(" # ") == std::string::npos ? line.size() : line.find(" # "));
    plain += line.substr(0, end + 1) + "\n";
  }
  return plain;
}

TEST(ConfigCommand, ResolvedParsesBackToItself) {
  const Scratch scratch;
  for (const char* name : {"tiny", "equivalence"}) {
    const Outcome first = run({program(), "config", config_file(name), "--resolved", "data.train=[{path: a}]"});
    expect_outcome(first, 0, {config_file(name), "override", "default"});
    const Outcome second = run({program(), "config", scratch.write("again.yaml", first.out), "--resolved"});
    expect_outcome(second, 0);
    EXPECT_EQ(without_remarks(second.out), without_remarks(first.out));
  }
}

TEST(ConfigCommand, ARunKeepsTheConfigThatRepeatsIt) {
  const Scratch scratch;
  const std::string dir = scratch.path("run"), again = scratch.path("again");
  must_train({"tiny", 1, {"train.steps=3"}}, dir);
  expect_outcome(run({program(), "train", dir + "/config.yaml", "run.dir=" + again}), 0);
  expect_same_metrics(again, dir);
  expect_same_checkpoint(again, dir);
}

TEST(ConfigCommand, SchemaDocsAndFamiliesArePrinted) {
  const Outcome schema = run({program(), "config", "--schema"});
  EXPECT_TRUE(Json::parse(schema.out, nullptr, false).is_object()) << schema.text();
  expect_outcome(run({program(), "config", "--docs"}), 0, {"# Configuration", "`global_batch_size`"});
  expect_outcome(run({program(), "config", "--families"}), 0, {"generic"});
  for (const char* what : {"--schema", "--docs", "--families"})
    expect_outcome(run({program(), "config", what, "nope.yaml"}), 64, {"config excludes", what});
}

}  // namespace
}  // namespace switchyard::test
