// Text and token files that are not what they should be: exit code 65 and the file's name, on one rank and on two.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

class BadData : public testing::Test {
 protected:
  BadData() {
    for (const char* end : {".bin", ".idx"}) fs::copy_file(corpus().train + end, prefix_ + end);
  }
  std::string own_data() const { return fmt::format("data.train=[{{path: '{}'}}]", prefix_); }
  void expect_refused(const std::vector<std::string>& parts) const {
    for (const int ranks : {1, 2}) {
      SCOPED_TRACE(ranks);
      const std::string dir = scratch_.path(fmt::format("run-{}", ranks));
      const Outcome outcome = train({"tiny", ranks, {own_data()}}, dir);
      expect_outcome(outcome, 65, parts);
      expect_one_message(outcome);
      expect_verdict(dir, "failed", -1);
    }
  }
  Outcome tokenize(const Command& words) const {
    return run(Command{program(), "data", "tokenize", "--output", scratch_.path("made")} + words);
  }

  Scratch scratch_;
  std::string prefix_ = scratch_.path("corpus"), bin_ = prefix_ + ".bin", idx_ = prefix_ + ".idx";
};

TEST_F(BadData, AMissingPairIsNamed) {
  fs::remove(idx_);
  expect_refused({"data.train", idx_, "no such file", "switchyard data tokenize", "scripts/prepare-corpus.sh"});
}

TEST_F(BadData, ATruncatedBinIsNamedWithItsSizeAndWhatIsBeyond) {
  const auto bytes = fs::file_size(bin_) - 100;
  fs::resize_file(bin_, bytes);
  expect_refused({bin_, std::to_string(bytes), "truncated", idx_});
}

TEST_F(BadData, ATruncatedIdxIsNamed) {
  fs::resize_file(idx_, fs::file_size(idx_) - 1);
  expect_refused({idx_});
}

TEST_F(BadData, AnIdxOfAnotherBinIsNamed) {
  fs::copy_file(corpus().valid + ".bin", bin_, fs::copy_options::overwrite_existing);
  expect_refused({bin_});
}

// Other tools' pairs may have gaps, so a .bin that is larger than its index is read (formats.md 1.1).
TEST_F(BadData, ABinOfWhichItsIdxUsesAPartIsTrainedOnAndNamedOnceWithBothSizes) {
  fs::copy_file(corpus().valid + ".idx", idx_, fs::copy_options::overwrite_existing);
  const auto all = fs::file_size(bin_), used = fs::file_size(corpus().valid + ".bin");
  ASSERT_GT(all, used);
  const std::string warning =
      fmt::format("{}: {} bytes, of which the index uses {}: the rest is ignored", bin_, all, used);
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const Outcome outcome =
        train({"tiny", ranks, {own_data(), "train.steps=2"}}, scratch_.path(fmt::format("run-{}", ranks)));
    expect_outcome(outcome, 0);
    EXPECT_EQ(count_of(outcome.text(), warning), 1) << outcome.text();
  }
}

TEST_F(BadData, ACorpusWithoutOneSampleIsNamedWithTheLengthThatIsNeeded) {
  scratch_.write("short.txt", "few");
  expect_outcome(tokenize({scratch_.path("short.txt")}), 0);
  prefix_ = scratch_.path("made");
  expect_refused({prefix_, "32"});
}

TEST_F(BadData, FoundByARunThatWentOnLeavesItsLastCheckpointInTheVerdict) {
  const std::string dir = scratch_.path("run");
  const Train training{"tiny", 1, {own_data()}};
  must_train(training.with({"train.steps=2"}), dir);
  scratch_.write("corpus.bin", std::string(fs::file_size(bin_), '\xff'));
  const Train more = training.with({"train.steps=4", "--allow-change", "data"});
  expect_outcome(train(more, dir), 65, {"resumed", bin_.substr(0, bin_.size() - 4), "vocabulary"});
  expect_verdict(dir, "failed", 2);
  fs::remove(idx_);
  expect_outcome(train(more, dir), 65, {idx_});
  expect_verdict(dir, "failed", 2);
}

// Every rank sees a folder of its own, as on nodes with disks of their own.
TEST_F(BadData, RanksThatFindDifferentDataAreRefusedWithBoth) {
  const std::string dir = scratch_.path("run");
  std::vector<Command> commands;
  for (const auto& [node, prefix] : {std::pair("a", corpus().train), std::pair("b", corpus().valid)}) {
    fs::create_directory(scratch_.path(node));
    for (const char* end : {".bin", ".idx"}) fs::copy_file(prefix + end, scratch_.path(node) + "/local" + end);
    Command command = Train{"tiny", 1, {"data.train=[{path: local}]"}}.command(dir);
    command[2] = fs::absolute(command[2]);
    commands.push_back(Command{"--wdir", scratch_.path(node)} + command);
  }
  const Outcome outcome = run(as_ranks(commands));
  expect_outcome(outcome, 65, {"local", "must be the same on all ranks", "rank 0: tokenizer", "rank 1: tokenizer"});
  expect_one_message(outcome);
}

TEST_F(BadData, AnEmptyCorpusIsRefused) {
  fs::create_directory(scratch_.path("nothing"));
  expect_outcome(tokenize({scratch_.path("nothing")}), 65, {"empty"});
  scratch_.write("nothing/a.txt", "");
  expect_outcome(tokenize({scratch_.path("nothing")}), 65, {"empty"});
  EXPECT_FALSE(fs::exists(scratch_.path("made.idx")));
}

TEST_F(BadData, WhatIsNotUtf8IsNamedWithItsPlace) {
  const std::string text = scratch_.write("latin.txt", "caf\xe9 au lait");
  expect_outcome(tokenize({text}), 65, {text, "UTF-8"});
  const std::string lines = scratch_.write("latin.jsonl", "{\"text\": \"good\"}\n{\"text\": \"caf\xe9\"}\n");
  expect_outcome(tokenize({lines}), 65, {lines + ":2"});
  EXPECT_FALSE(fs::exists(scratch_.path("made.bin")));
}

TEST_F(BadData, AMissingInputIsNamed) {
  expect_outcome(tokenize({scratch_.path("gone")}), 65, {scratch_.path("gone")});
}

}  // namespace
}  // namespace switchyard::test
