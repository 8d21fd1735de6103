// The arithmetic of a step, against sums by hand for the configs of configs/bench.
#include "switchyard/bench/cost.h"

#include "switchyard/train/experiment.h"

namespace switchyard::bench {
namespace {

train::ExperimentConfig config_named(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return train::parse_experiment(config::read_sources("configs/bench/" + name + ".yaml"), overrides,
                                 train::without_run_and_data())
      .config;
}

// 6 x (layers x (attention + router + chosen experts) + head) + 12 x mean keys x layers x width of the heads
TEST(Cost, CountsTheArithmeticOfTheBenchConfigs) {
  struct Row {
    const char* name;
    int64_t layers, attention, router, experts, head, heads_width, mean_keys;
  };
  for (const Row& r :
       {Row{"mixtral-s", 8, 3 * 512 * 512, 8 * 512, 2 * 3 * 1024 * 512, 8192 * 512, 512, 256},
        Row{"olmoe-s", 8, 4 * 512 * 512, 64 * 512, 8 * 3 * 256 * 512, 8192 * 512, 512, 256},
        Row{"qwen3moe-s", 6, 2 * 512 * 512 + 2 * 128 * 512, 32 * 512, 4 * 3 * 384 * 512, 8192 * 512, 512, 256},
        Row{"quickstart-s", 4, 4 * 256 * 256, 16 * 256, 3 * 3 * 256 * 256, 4096 * 256, 256, 128}}) {
    const train::ExperimentConfig c = config_named(r.name);
    const int64_t expected =
        6 * (r.layers * (r.attention + r.router + r.experts) + r.head) + 12 * r.mean_keys * r.layers * r.heads_width;
    EXPECT_EQ(flops_per_token(c.model, c.data.sequence_length), static_cast<double>(expected)) << r.name;
  }
}

TEST(Cost, CountsOnlyTheKeysInsideAWindow) {
  const train::ExperimentConfig whole = config_named("mixtral-s"),
                                near = config_named("mixtral-s", {"model.attention.window=64"});
  // Position i sees min(i, 64) keys, counted as the triangle of the first 64 and a band after it.
  const double keys = (64.0 * 64 / 2 + (512 - 64) * 64) / 512;
  EXPECT_DOUBLE_EQ(flops_per_token(whole.model, 512) - flops_per_token(near.model, 512), 12 * (256 - keys) * 8 * 512);
}

}  // namespace
}  // namespace switchyard::bench
