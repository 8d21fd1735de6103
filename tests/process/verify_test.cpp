// switchyard verify on processes: shipped configs are equal in every layout, planted bugs are found and named, and what
// cannot be compared is refused.
#include "tests/support/full.h"
#include "tests/support/runs.h"

#include <gmock/gmock.h>

namespace switchyard::test {
namespace {

// Router logits of order 1, and a seed whose choices are so far from ties that f32 makes them in every layout.
struct Config {
  const char* name;
  const char* path;  // from configs/tests
  const char* seed;
  Command overrides = {};
};

void PrintTo(const Config& config, std::ostream* out) { *out << config.path; }

class Verify : public testing::TestWithParam<Config> {
 protected:
  Json report() const { return Json::parse(scratch_.read("report.json")); }
  Command and_report(Command words = {}) const { return words + Command{"--json", scratch_.path("report.json")}; }
  Scratch scratch_;
};

TEST_P(Verify, FindsEveryLayoutEqual) {
  const Config& config = GetParam();
  const Command some{"--steps", "3", "--only", "dp 2 tp 2*zero 1", "dp 1 tp 4*zero 1", "dp 4 tp 1*alltoall*"};
  const Command words =
      Command{"model.init.std=0.2", config.seed} + config.overrides + (is_full_run() ? Command{"--steps", "10"} : some);
  expect_outcome(run(verify(4, config.path, and_report(words)), {}, 10 * kPatience), 0,
                 {"equal; f64: ", "f32 on one rank"});
  const Json json = report();
  EXPECT_TRUE(json.at("equal"));
  EXPECT_EQ(json.at("ranks"), 4);
  EXPECT_GE(json.at("layouts").size(), 4u);
  for (const char* dtype : {"f64", "f32"})
    EXPECT_GT(json.at("one_rank").at(dtype).at("smallest_margin"), 1e-5) << dtype;
  for (const Json& row : json.at("layouts")) {
    EXPECT_EQ(row.at("verdict"), "equal") << row;
    EXPECT_LE(row.at("gradient"), row.at("dtype") == "f64" ? 1e-12 : 1e-5) << row;
  }
}

// glm4-moe has the bias and half of each head rotating; its groups are added. qwen2-moe has the gate of shared experts.
INSTANTIATE_TEST_SUITE_P(Configs, Verify,
                         testing::Values(Config{"equivalence", "equivalence", "run.seed=3"},
                                         Config{"tensor", "tensor", "run.seed=38"},
                                         Config{"glm4_moe",
                                                "../models/glm4-moe-tiny",
                                                "run.seed=4",
                                                {"model.moe.router.groups={count: 4, keep: 2, score: top2_sum}"}},
                                         Config{"qwen2_moe", "../models/qwen2-moe-tiny", "run.seed=1"}),
                         [](const auto& row) { return std::string(row.param.name); });

// Long enough for what comes late; the whole of the config, whose 8 micro-batches stay as they are.
TEST(VerifyForLong, FiftyStepsOfProcessesAreThoseOfOneRank) {
  const Command words{
      "model.init.std=0.2",      "run.seed=3", "--scale", "full", "--steps", "50", "--only", "dp 4 tp 1 ep 1*zero 1",
      "dp 4 tp 1 ep 4*alltoall*"};
  expect_outcome(run(verify(4, "equivalence", words), {}, 10 * kPatience), 0, {"equal; f64: 2 layouts"});
}

struct Bug {
  const char* name;
  const char* fault;
  const char* only;
  const char* parameter;  // that it is in
};

void PrintTo(const Bug& bug, std::ostream* out) { *out << bug.fault; }

class PlantedBug : public testing::TestWithParam<Bug> {};

TEST_P(PlantedBug, IsFoundAndItsParameterNamed) {
  const Scratch scratch;
  const Outcome outcome =
      run(verify(2, "tensor", {"--steps", "1", "--only", GetParam().only, "--json", scratch.path("json")}),
          {{"SWITCHYARD_FAULT", GetParam().fault}});
  const Json json = Json::parse(scratch.read("json"));
  EXPECT_FALSE(json.at("equal"));
  const std::string worst = json.at("layouts").at(0).at("parameter");
  EXPECT_THAT(worst, testing::HasSubstr(GetParam().parameter));
  expect_outcome(outcome, 1, {"DIFFERENT; f64: ", "differs", fmt::format("gradient of {}: ", worst)});
}

INSTANTIATE_TEST_SUITE_P(
    Of, PlantedBug,
    testing::Values(Bug{"AGradientScale", "scale:1:1", "dp 2 tp 1 ep 1 etp 1*zero 1", "layers.1.attention.q.weight"},
                    Bug{"AMissingReduction", "unsummed:1:1", "dp 1 tp 2 ep 1 etp 1*zero 1", "norm"},
                    Bug{"ASwappedExpert", "swap:1:1", "dp 2 tp 1 ep 2*alltoall zero 1", "moe.experts"}),
    [](const auto& row) { return row.param.name; });

TEST(VerifyCommand, ListsLayoutsThatDoNotFitWithTheReason) {
  expect_outcome(run(verify(2, "equivalence", {"--steps", "1"})), 0,
                 {"layouts that do not fit", "model.attention.num_heads: 3 is not a multiple of parallel.tensor=2",
                  "dp 1 tp 2 ep 1 etp 1"});
}

// The groups of the config's own layout are kept in layouts that hold the experts otherwise.
TEST(VerifyCommand, TakesGroupsThatAreTiedToTheMachineIntoEveryLayout) {
  const std::string tied = "model.moe.router.groups={count: 0, keep: 1, tie_to: rank}";
  expect_outcome(run(verify(2, "tensor", {"--steps", "1", "parallel.expert=2", "model.moe.top_k=2", tied})), 0,
                 {"equal; f64: ", " 0 different"});
  expect_outcome(run(verify(2, "tensor", {"--steps", "1", "parallel.expert=4", tied})), 64, {"world size 2"});
}

TEST(VerifyCommand, RefusesAGpu) {
  expect_outcome(run(verify(1, "tensor", {"run.device=cuda"})), 64, {"run.device=cuda", "f64", "run.device=cpu"});
}

TEST(VerifyCommand, OfOneRankComparesDispatchersAndZero) {
  expect_outcome(run(verify(1, "tensor", {"--steps", "1"})), 0, {"allgather", "equal; f64: 3 layouts, 0 different"});
}

TEST(VerifyCommand, TrainsOnDataThatIsGiven) {
  expect_outcome(run(verify(2, "tensor", {"--steps", "1", "--only", "dp 2*zero 0", "--data", corpus().train})), 0);
  expect_outcome(run(verify(1, "tensor", {"--data", corpus().train + "-nothing"})), 65, {"-nothing"});
}

TEST(VerifyCommand, RefusesMistakes) {
  expect_outcome(run(verify(1, "tensor", {"--only", "dp 7*"})), 64, {"--only", "dp 7*", "dp 1 tp 1"});
  expect_outcome(run(verify(1, "tensor", {"model.moe.top_k=9"})), 64, {"model.moe.top_k"});
  expect_outcome(run(verify(1, "tensor", {"--scale", "huge"})), 64, {"huge"});
}

}  // namespace
}  // namespace switchyard::test
