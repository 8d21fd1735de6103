// Mistakes in the command line and the config: exit code 64, and one message that names key and values, also on ranks.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

struct Mistake {
  std::string what;
  int ranks;
  Command overrides;
  std::vector<std::string> parts;
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.what; }

class BadConfig : public testing::TestWithParam<Mistake> {};

TEST_P(BadConfig, EndsAllRanksWithOneMessageAndWritesNothing) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  const Outcome outcome = train({"tiny", GetParam().ranks, GetParam().overrides}, dir, {}, kLimitOfAMistake);
  expect_outcome(outcome, 64, GetParam().parts);
  expect_one_message(outcome);
  EXPECT_FALSE(fs::exists(dir));
}

INSTANTIATE_TEST_SUITE_P(
    Of, BadConfig,
    testing::ValuesIn(std::vector<Mistake>{
        {"UnknownKey", 1, {"train.step=5"}, {"train.step", "did you mean 'train.steps'"}},
        {"UnknownKeyOnRanks", 2, {"model.moe.topk=5"}, {"model.moe.topk", "did you mean 'model.moe.top_k'"}},
        {"WrongType", 1, {"train.steps=many"}, {"train.steps", "many"}},
        {"NotBuilt", 1, {"parallel.context=2"}, {"parallel.context", "context parallelism", "not built"}},
        {"HeadsByKvHeads",
         1,
         {"model.attention.num_heads=3", "model.attention.num_kv_heads=2"},
         {"model.attention.num_heads: 3", "num_kv_heads=2"}},
        {"ExpertsByExpertRanks", 1, {"parallel.expert=3"}, {"model.moe.num_experts: 4", "parallel.expert=3"}},
        {"TopKOverExperts", 1, {"model.moe.top_k=5"}, {"model.moe.top_k", "5", "4"}},
        {"TopKOverKeptGroups",
         1,
         {"model.moe.router.groups={count: 4, keep: 1}"},
         {"model.moe.top_k: 2 exceeds the 1 experts of router.groups.keep=1"}},
        {"GroupsOfAnotherMachine",
         2,
         {"parallel.expert=2", "parallel.ranks_per_node=1",
          "model.moe.router.groups={count: 4, keep: 2, tie_to: node}"},
         {"model.moe.router.groups", "a node holds several groups", "group 3: expert 3",
          "rank 1 on node 1: experts 2-3"}},
        {"BatchByMicroBatch", 1, {"train.global_batch_size=7"}, {"train.global_batch_size: 7", "micro_batch_size=2"}},
        {"BatchByDataRanks",
         2,
         {"train.global_batch_size=6"},
         {"world size 2", "train.global_batch_size: 6", "train.micro_batch_size=2 x parallel.data=2"}},
        {"WorldByExpert", 2, {"parallel.expert=4"}, {"world size 2", "parallel.expert", "4"}},
        {"WorldByData", 2, {"parallel.data=4"}, {"world size 2", "4"}},
        {"OneRankByExpert", 1, {"parallel.expert=2"}, {"world size 1", "parallel.expert", "2"}},
        {"FourRanksByExpert", 4, {"parallel.expert=8", "model.moe.num_experts=8"}, {"world size 4", "8"}},
        {"SequenceOverPositions",
         1,
         {"data.sequence_length=4096"},
         {"data.sequence_length: 4096", "model.max_position=1024"}},
    }),
    [](const auto& row) { return row.param.what; });

TEST(BadConfigFile, ThatCannotBeReadIsNamedOnOneRankAndOnTwo) {
  const Scratch scratch;
  const std::string missing = scratch.path("missing.yaml"), folder = scratch.path("");
  const std::vector<std::pair<std::string, std::string>> rows{{missing, "No such file or directory"},
                                                              {folder, "is a folder"}};
  for (const auto& [path, reason] : rows)
    for (const int ranks : {1, 2}) {
      const Outcome outcome = run(on_ranks(ranks, {program(), "train", path}), {}, kLimitOfAMistake);
      expect_outcome(outcome, 64, {path, reason});
      expect_one_message(outcome);
    }
}

TEST(BadConfigFile, WhoseReaderMayNotReadItIsNamed) {
  const Scratch scratch;
  const std::string file = scratch.write("secret.yaml", "run: {dir: x}\n");
  fs::permissions(file, fs::perms::none);
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const Command command = as_another_user(scratch, ranks, {"train", file});
    if (command.empty()) GTEST_SKIP() << "no program can be run as another user here";
    const Outcome outcome = run(command, {}, kLimitOfAMistake);
    expect_outcome(outcome, 64, {file, "Permission denied"});
    expect_one_message(outcome);
  }
}

TEST(BadConfigFile, NamesFileLineKeyAndValue) {
  const Scratch scratch;
  const std::string file = scratch.write("bad.yaml", "run: {dir: x}\ntrain:\n  steps: -1\nmodle: {}\n");
  expect_outcome(run({program(), "train", file}, {}, kLimitOfAMistake), 64,
                 {file + ":3", "train.steps", "-1", file + ":4", "modle", "did you mean 'model'"});
}

TEST(CommandLine, MistakesAreUsageErrors) {
  for (const Command& words : {Command{"train"}, Command{"train", "--frobnicate"},
                               Command{"generate", "x", "--temperature", "-1"}, Command{"config"}})
    expect_outcome(run(Command{program()} + words, {}, kLimitOfAMistake), 64);
  expect_outcome(run({program(), "frobnicate"}, {}, kLimitOfAMistake), 64, {"frobnicate"});
  expect_outcome(run({program()}, {}, kLimitOfAMistake), 64, {"train", "eval"});
  expect_outcome(run({program(), "--help"}), 0, {"train", "eval", "generate", "data", "checkpoint", "config"});
  expect_outcome(run({program(), "--version"}), 0, {"switchyard "});
}

TEST(CommandLine, EveryNumberHasItsRange) {
  const std::vector<std::pair<Command, std::vector<std::string>>> commands{
      {{"bench", "roof"},
       {"--threads -1", "--threads 4097", "--seconds 0", "--seconds nan", "--divide 0", "--divide 17"}},
      {{"bench", "step", "--config", config_file("tiny")},
       {"--threads -1", "--steps 0", "--steps 1.5", "--warm-up -1", "--roof-seconds -1", "--roof-seconds inf"}},
      {{"bench", "dispatch"},
       {"--threads -1", "--tokens 0", "--width 0", "--experts 0", "--top-k 2,0", "--repeats 0", "--ranks-per-node -1"}},
      {{"compare", "a", "b"}, {"--bound -1", "--bound nan"}},
      {{"data", "inspect", "x"}, {"--documents -5"}},
      {{"data", "tokenize", "x", "--output", "y"}, {"--held-out 1", "--zstd-window-log 32"}},
      {{"eval", "x"}, {"--samples 0"}},
      {{"forward", "x", "--inputs", "y", "--out", "z"}, {"--generate 0"}},
      {{"generate", "x"},
       {"--ids 3,-1", "--max-tokens 0", "--temperature -1", "--temperature nan", "--top-p 1.5", "--seed -1"}},
      {{"verify", config_file("tiny")}, {"--steps 0"}},
  };
  for (const auto& [words, options] : commands)
    for (const std::string& option : options) {
      const std::string name = option.substr(0, option.find(' ')), value = option.substr(option.find(' ') + 1);
      expect_outcome(run(Command{program()} + words + Command{name, value}), 64,
                     {name, value.substr(value.find(',') + 1)});
    }
}

// Before the work whose results would go there: it may take hours.
TEST(CommandLine, AFileForResultsNeedsItsFolder) {
  const std::string config = config_file("tiny");
  for (const Command& words :
       {Command{"bench", "roof", "--json"}, Command{"bench", "step", "--config", config, "--json"},
        Command{"bench", "dispatch", "--json"}, Command{"verify", config, "--json"},
        Command{"verify", config, "--markdown"}, Command{"eval", "no-such-run", "--json"},
        Command{"forward", "no-such-run", "--inputs", "x", "--out"}})
    expect_outcome(run(Command{program()} + words + Command{"/no-such-folder/x"}, {}, kLimitOfAMistake), 64,
                   {words.back() + " /no-such-folder/x: there is no folder /no-such-folder"});
}

TEST(CommandLine, ChangesThatAreAllowedMayComeBeforeTheConfig) {
  expect_outcome(run({program(), "train", "--allow-change", "data,seed", "no-such.yaml"}, {}, kLimitOfAMistake), 64,
                 {"'no-such.yaml' cannot be read"});
}

TEST(CommandLine, AMistakeOfAllRanksIsToldOnce) {
  for (const Command& words : {Command{"trane", "tiny.yaml"}, Command{"train", "tiny.yaml", "--no-such-option"}}) {
    const Outcome outcome = run(on_ranks(2, Command{program()} + words), {}, kLimitOfAMistake);
    expect_outcome(outcome, 64, {words.back() == "tiny.yaml" ? "there is no command" : "--no-such-option"});
    expect_one_message(outcome);
  }
}

TEST(CommandLine, ThatIsNotTheSameOnAllRanksIsRefusedWithBoth) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  const Train seed_1{"tiny", 1, {"run.seed=1"}}, seed_2{"tiny", 1, {"run.seed=2"}};
  const Outcome outcome = run(as_ranks({seed_1.command(dir), seed_2.command(dir)}), {}, kLimitOfAMistake);
  expect_outcome(outcome, 64, {"the command line", "rank 0: train", "run.seed=1", "rank 1: train", "run.seed=2"});
  expect_one_message(outcome);
  EXPECT_FALSE(fs::exists(dir));
}

}  // namespace
}  // namespace switchyard::test
