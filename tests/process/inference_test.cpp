// eval gives one number in every layout, and generate one text for a seed.
#include "tests/support/runs.h"
#include "tests/support/system_calls.h"

namespace switchyard::test {
namespace {

class Inference : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new Scratch;
    dir_ = scratch_->path("run");
    must_train({"tiny", 1, {"train.steps=30", "model.max_position=128"}}, dir_);
  }
  static void TearDownTestSuite() { delete std::exchange(scratch_, nullptr); }

  static Json evaluate(int ranks, const Command& words) {
    const std::string file = scratch_->path("eval.json");
    const Command command{program(), "eval", dir_, "--json", file};
    expect_outcome(run(on_ranks(ranks, command + words)), 0, {"bits per byte"});
    return Json::parse(read_text(file), nullptr, false);
  }
  static std::string generate(const Command& words) {
    const Outcome outcome = run(Command{program(), "generate", dir_, "--prompt", "the router"} + words);
    expect_outcome(outcome, 0);
    EXPECT_TRUE(outcome.out.starts_with("the router")) << outcome.out;
    return outcome.out;
  }

  static inline Scratch* scratch_ = nullptr;
  static inline std::string dir_;
};

TEST_F(Inference, EvaluatesToTheSameNumberInEveryLayout) {
  const auto expect_same = [](const Json& one, int ranks, const Command& words, double bound = 1e-9) {
    SCOPED_TRACE(fmt::format("{} ranks {}", ranks, fmt::join(words, " ")));
    const Json many = evaluate(ranks, words);
    for (const char* key : {"samples", "loss_tokens", "text_bytes"}) EXPECT_EQ(many.at(key), one.at(key)) << key;
    for (const char* key : {"loss", "bits_per_byte"})
      EXPECT_NEAR(many.at(key).get<double>() / one.at(key).get<double>(), 1, bound) << key;
  };
  const Json f32 = evaluate(1, {}), f64 = evaluate(1, {"--dtype", "f64"});
  ASSERT_TRUE(f32.is_object());
  EXPECT_EQ(f32.at("step"), 30);
  expect_same(f32, 2, {});
  expect_same(f32, 2, {"parallel.expert=2"});
  expect_same(f32, 4, {});
  expect_same(f32, 4, {"parallel.expert=4", "parallel.dispatcher=allgather"});
  // Tensor ranks split sums inside the model: f32 rounds otherwise, by what docs/equivalence.md allows a first loss.
  expect_same(f64, 2, {"--dtype", "f64", "parallel.tensor=2"}, 1e-12);
  expect_same(f32, 2, {"parallel.tensor=2"}, 1e-6);
}

TEST_F(Inference, EvaluatesAsTheRunDidAtItsEnd) {
  const Json result = evaluate(1, {}), last = metrics_of(dir_).back();
  for (const char* key : {"loss", "bits_per_byte"})
    EXPECT_NEAR(result.at(key).get<double>() / last.at(std::string("eval/") + key).get<double>(), 1, 1e-8) << key;
  EXPECT_EQ(evaluate(1, {"--data", corpus().valid}).at("loss"), result.at("loss"));
}

TEST_F(Inference, EvaluatesOtherDataOtherSamplesAndPrecisions) {
  const Json other = evaluate(1, {"--data", corpus().train, "--samples", "5"});
  EXPECT_EQ(other.at("samples"), 5);
  expect_outcome(run({program(), "eval", dir_, "--samples", "100000"}), 0,
                 {" samples (all that there are; 100000 were asked for)"});
  const double f32 = evaluate(1, {}).at("loss");
  EXPECT_NEAR(evaluate(1, {"--dtype", "bf16"}).at("loss").get<double>() / f32, 1, 1e-2);
  EXPECT_NEAR(evaluate(1, {"--dtype", "f64"}).at("loss").get<double>() / f32, 1, 1e-5);
}

TEST_F(Inference, GeneratesOneTextForASeed) {
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    const Command words{"--dtype", dtype, "--max-tokens", "60"};
    const std::string text = generate(words + Command{"--seed", "5"});
    EXPECT_EQ(generate(words + Command{"--seed", "5"}), text);
    EXPECT_NE(generate(words + Command{"--seed", "6"}), text);
  }
}

TEST_F(Inference, AtTemperatureZeroTheSeedDoesNotMatter) {
  const Command words{"--max-tokens", "40"};
  const std::string text = generate(words + Command{"--temperature", "0", "--seed", "5"});
  EXPECT_EQ(generate(words + Command{"--temperature", "0", "--seed", "6"}), text);
  EXPECT_EQ(generate(words + Command{"--top-p", "0"}), text) << "the likeliest token alone";
}

TEST_F(Inference, RefusesWhatDoesNotFit) {
  expect_outcome(run({program(), "generate", dir_, "--prompt", "ab", "--max-tokens", "500"}), 64,
                 {"model.max_position=128", "500"});
  expect_outcome(run(on_ranks(2, {program(), "generate", dir_, "--prompt", "ab"})), 64, {"2 ranks"});
  expect_outcome(run({program(), "eval", scratch_->path("nowhere")}), 65, {scratch_->path("nowhere")});
  expect_outcome(run({program(), "eval", dir_, "--data", scratch_->path("no")}), 65, {scratch_->path("no.idx")});
}

// strace holds a process up where it opens the checkpoint's folder, as a file system that hangs would; it notices the
// end of the process only afterwards.
TEST_F(Inference, ACheckpointThatCannotBeReadInTimeEndsAllByTheWatchdog) {
  if (!can_trace()) GTEST_SKIP() << "strace cannot trace a program here";
  const std::string folder = fs::canonical(checkpoint_of(dir_, 30));
  const Command held_up{"strace", "-o", "/dev/null", "-P", folder, "-e", "inject=openat:delay_enter=8000000"};
  const Command eval{program(), "eval", dir_, "run.watchdog=2"}, generate{program(), "generate", dir_, eval[3]};
  const std::string words = "switchyard: finding the weights took longer than run.watchdog=2 seconds";
  expect_outcome(run(held_up + generate), 76, {words});
  expect_outcome(run(as_ranks({eval, held_up + eval})), 76, {"[rank 0] " + words});
}

struct HeldUp {
  const char* name;
  std::string file;  // or folder, where rank 1 is held up when it opens it
  Command words;
  const char* section;
};

TEST_F(Inference, CommandsWhoseRankHangsEndAllByTheWatchdog) {
  if (!can_trace()) GTEST_SKIP() << "strace cannot trace a program here";
  const std::string step = fs::canonical(checkpoint_of(dir_, 30)),
                    golden = fs::canonical(source_file("tests/goldens/llama/base")),
                    ids = golden + "/expected.safetensors";
  const std::vector<HeldUp> rows{
      {"forward",
       ids,
       {"forward", golden, "--inputs", ids, "--out", scratch_->path("out"), "run.watchdog=2"},
       "reading the inputs"},
      {"from-hf", golden, {"convert", "from-hf", golden, scratch_->path("a"), "--watchdog", "2"}, "the conversion"},
      {"to-hf", step, {"convert", "to-hf", dir_, scratch_->path("b"), "--watchdog", "2"}, "the conversion"}};
  for (const auto& [name, file, words, section] : rows) {
    SCOPED_TRACE(name);
    const Command command = Command{program()} + words;
    const Command held_up{"strace", "-o", "/dev/null", "-P", file, "-e", "inject=openat:delay_enter=8000000"};
    expect_outcome(run(as_ranks({command, held_up + command})), 76,
                   {fmt::format("[rank 0] switchyard: {} took longer than run.watchdog=2 seconds", section)});
  }
}

TEST_F(Inference, TextDrivesNoTerminal) {
  const std::string prompt = "\x1b[2J";
  const Command words{"--max-tokens", "1", "--temperature", "0"};
  const Outcome in_a_file = run(Command{program(), "generate", dir_, "--prompt", prompt} + words);
  EXPECT_EQ(in_a_file.out.substr(0, prompt.size()), prompt);
  const std::string line =
      fmt::format("'{}' generate '{}' --prompt '{}' {}", program(), dir_, prompt, fmt::join(words, " "));
  const Outcome shown = run({"script", "-qec", line, "/dev/null"});
  EXPECT_EQ(shown.out.find(prompt), std::string::npos);
  EXPECT_NE(shown.out.find("\\x1b[2J"), std::string::npos) << shown.text();
}

}  // namespace
}  // namespace switchyard::test
