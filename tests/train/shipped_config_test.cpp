// The configs and the generated page in the tree, which tests find in the current folder; and configs that are damaged.
#include "switchyard/train/experiment.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace switchyard::train {
namespace {

std::string contents(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

class Shipped : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("docs/config.md")) GTEST_SKIP() << "the current folder is not the repository's root";
  }
};

TEST_F(Shipped, ConfigPageIsWhatTheProgramPrints) {
  EXPECT_TRUE(contents("docs/config.md") == config_docs())
      << "docs/config.md is stale; regenerate it: build/release/switchyard config --docs > docs/config.md";
}

TEST_F(Shipped, EveryConfigParses) {
  int parsed = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    const std::string path = entry.path().string();
    const bool is_bench = path.find("/bench/") != std::string::npos;
    const bool is_test = path.find("/tests/") != std::string::npos;
    const std::vector<std::string> overrides =
        is_test ? std::vector<std::string>{"data.train=[{path: x}]"} : std::vector<std::string>{};
    const config::Sources sources = config::read_sources(path);
    EXPECT_NO_THROW(parse_experiment(sources, overrides, is_bench ? without_run_and_data() : config::ParseOptions{}))
        << path;
    ++parsed;
  }
  EXPECT_GE(parsed, 13);
}

TEST_F(Shipped, BenchConfigsAreOneMicroBatchOf4096Tokens) {
  for (const char* name : {"mixtral-s", "olmoe-s", "qwen3moe-s", "quickstart-s"}) {
    const auto sources = config::read_sources(fmt::format("configs/bench/{}.yaml", name));
    const ExperimentConfig config = parse_experiment(sources, {}, without_run_and_data()).config;
    EXPECT_EQ(config.train.global_batch_size * config.data.sequence_length, 4096) << name;
    EXPECT_EQ(config.train.micro_batch_size, config.train.global_batch_size) << name;
    EXPECT_TRUE(config.model.moe.balance.empty()) << name;
  }
}

TEST_F(Shipped, QuickstartFitsTwoRanks) {
  const ExperimentConfig config = parse_experiment(config::read_sources("configs/quickstart.yaml")).config;
  EXPECT_EQ(check_world(config, 2), 2);
  EXPECT_EQ(config.parallel.expert, 2);
}

// A few random edits of a valid config: whatever comes out is a config or one usage error, never anything else.
TEST_F(Shipped, DamagedConfigsAreParsedOrRefused) {
  const std::string pieces[] = {":",
                                "\n",
                                "- ",
                                "[",
                                "]",
                                "{",
                                "}",
                                "&a ",
                                "*a",
                                "!!x ",
                                "\"",
                                "'",
                                "<<: ",
                                "---\n",
                                "|\n",
                                "? ",
                                "\t",
                                "~",
                                "1e999",
                                "-0",
                                ".nan",
                                "\xff",
                                "\xc3\xa4",
                                "#",
                                "%",
                                "@",
                                "include: ",
                                "model:\n",
                                "999999999999999999999"};
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return random() % n; };
  int accepted = 0, refused = 0;
  for (const char* path : {"configs/quickstart.yaml", "configs/bench/olmoe-s.yaml"}) {
    const std::string original = contents(path);
    for (int i = 0; i < 1000; ++i) {
      std::string text = original;
      for (size_t edits = 1 + below(4); edits > 0 && !text.empty(); --edits) {
        const size_t at = below(text.size());
        switch (below(5)) {
          case 0: text[at] = static_cast<char>(below(256)); break;
          case 1: text.erase(at, 1 + below(20)); break;
          case 2: text.insert(at, pieces[below(std::size(pieces))]); break;
          case 3: text.insert(at, text.substr(below(text.size()), below(60))); break;
          default: text.resize(at + 1); break;
        }
      }
      try {
        const Experiment experiment =
            parse_experiment(config::Sources::of_text("f.yaml", text), {}, without_run_and_data());
        const auto again = config::Sources::of_text("g.yaml", experiment.resolved());
        EXPECT_EQ(parse_experiment(again, {}, without_run_and_data()).config, experiment.config) << text;
        ++accepted;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::usage) << error.what() << text;
        ++refused;
      }
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace switchyard::train
