// Drawing a token, and continuing a prompt.
#include "switchyard/train/generate.h"

#include "switchyard/parallel/buckets.h"
#include "tests/support/scratch.h"
#include "tests/train/tiny_experiment.h"

#include <algorithm>

namespace switchyard::train {
namespace {

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3));
  return logits;
}

// Probabilities of tokens 0 to 3, not in their order.
const std::vector<float> kLogits = logits_of({0.1, 0.5, 0.05, 0.35});

TEST(SampleToken, TemperatureZeroTakesTheFirstOfTheLargest) {
  for (const double u : {0.0, 0.5, 0.999999}) {
    EXPECT_EQ(sample_token(kLogits, {.temperature = 0}, u), 1);
    EXPECT_EQ(sample_token({0, 2, -1, 2}, {.temperature = 0}, u), 1);
    EXPECT_EQ(sample_token({-INFINITY, -INFINITY, -5}, {.temperature = 0}, u), 2);
  }
}

struct Draw {
  double temperature, top_p, u;
  int64_t token;
  const char* why;
};

TEST(SampleToken, TheUniformNumberPicksFromTheMostLikelyDown) {
  for (const Draw& draw : std::vector<Draw>{
           {1, 1, 0.0, 1, "order of probability: 1, 3, 0, 2"},
           {1, 1, 0.49, 1, "below 0.5"},
           {1, 1, 0.51, 3, "above 0.5"},
           {1, 1, 0.84, 3, "below 0.85"},
           {1, 1, 0.86, 0, "above 0.85"},
           {1, 1, 0.949, 0, "below 0.95"},
           {1, 1, 0.951, 2, "above 0.95"},
           {1, 1, 0.9999999999999999, 2, "largest u"},
           {1, 0.6, 0.58, 1, "two tokens kept: 0.5 / 0.85 = 0.588"},
           {1, 0.6, 0.6, 3, "the other of two"},
           {1, 0.6, 0.9999999999999999, 3, "nothing beyond the kept"},
           {1, 0.4, 0.9999999999999999, 1, "the first alone has more than top_p"},
           {1, 0.0, 0.9999999999999999, 1, "at least one is kept"},
           {0.5, 1, 0.64, 1, "squares 0.25, 0.1225, 0.01, 0.0025: 0.25 / 0.385 = 0.649"},
           {0.5, 1, 0.66, 3, "above it"},
           {1e-9, 1, 0.9999999999999999, 1, "nearly no temperature, without overflow"},
           {1e9, 1, 0.2, 1, "nearly even"},
           {1e9, 1, 0.3, 3, "nearly even"},
       })
    EXPECT_EQ(sample_token(kLogits, {.temperature = draw.temperature, .top_p = draw.top_p}, draw.u), draw.token)
        << draw.why;
}

TEST(SampleToken, AnImpossibleTokenIsNeverDrawn) {
  for (const double u : {0.0, 0.5, 0.9999999999999999}) EXPECT_EQ(sample_token({-INFINITY, 1, -INFINITY}, {}, u), 1);
}

class Generate : public testing::Test {
 protected:
  std::vector<int32_t> run(const SamplingOptions& options, std::optional<int32_t> end = std::nullopt,
                           const std::vector<int32_t>& prompt = {3, 1, 4}) {
    std::vector<int32_t> ids;
    generate(decoder, end, prompt, options, [&](int32_t id) { ids.push_back(id); });
    return ids;
  }

  ExperimentConfig config = test::tiny_experiment();
  comm::World world = comm::World::self();
  parallel::Mesh mesh{{}, world};
  model::Decoder decoder{config.model, mesh, parallel::DispatcherKind::local, DType::f32};
  std::vector<parallel::Bucket> buckets = parallel::make_buckets(decoder.parameters(), mesh, DType::f32, 1);
};

TEST_F(Generate, SameSeedSameText) {
  const auto ids = run({.max_tokens = 13, .temperature = 3, .seed = 5});
  EXPECT_EQ(ids.size(), 13U);
  EXPECT_EQ(run({.max_tokens = 13, .temperature = 3, .seed = 5}), ids);
  EXPECT_NE(run({.max_tokens = 13, .temperature = 3, .seed = 6}), ids);
  EXPECT_TRUE(std::ranges::all_of(ids, [&](int32_t id) { return id >= 0 && id < config.model.vocab_size; }));
}

TEST_F(Generate, WithoutTemperatureEachTokenIsTheLikeliestAfterAllBefore) {
  const auto ids = run({.max_tokens = 8, .temperature = 0});
  std::vector<int32_t> text{3, 1, 4};
  for (const int32_t id : ids) {
    auto caches = decoder.make_caches(1, 16);
    const Tensor all = Tensor::of(text, {1, static_cast<int64_t>(text.size())});
    const auto logits = decoder.next_logits(all, caches).to_vector<float>();
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    text.push_back(id);
  }
  EXPECT_EQ(run({.max_tokens = 8, .temperature = 1, .top_p = 0}), ids);
}

TEST_F(Generate, StopsAtTheEndTokenAndDoesNotEmitIt) {
  const auto ids = run({.max_tokens = 13, .temperature = 3});
  const auto stop = ids.begin() + 6;
  const auto first = std::find(ids.begin(), ids.end(), *stop);
  EXPECT_EQ(run({.max_tokens = 13, .temperature = 3}, *stop), std::vector<int32_t>(ids.begin(), first));
}

TEST_F(Generate, RefusesAnEmptyPromptAndATextBeyondTheLastPosition) {
  test::expect_error(ExitCode::usage, {"prompt is empty"}, [&] { run({}, std::nullopt, {}); });
  test::expect_error(ExitCode::usage, {"3 prompt tokens", "14 new", "model.max_position=16"},
                     [&] { run({.max_tokens = 14}); });
}

}  // namespace
}  // namespace switchyard::train
