// The configs of configs/models: each trains, leaves as a folder of its family, and comes back as the same bytes.
#include "switchyard/files/model_folder.h"
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

struct Row {
  const char* config;  // of configs/models
  int ranks;
  Command layout;
  const char* architecture;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.config; }
std::string name_of(const Row& row) {
  std::string name = row.config;
  std::erase(name, '-');
  return name;
}

class ModelConfig : public testing::TestWithParam<Row> {
 protected:
  // A few short steps on the test's corpus; returns the run's folder.
  std::string train_on(int ranks, const Command& overrides) const {
    const std::string name = std::string("../models/") + GetParam().config,
                      dir = scratch_.path(fmt::format("run-{}", ranks));
    const Command small{"run.threads=1", "train.steps=6", "schedule.warmup_steps=0", "data.sequence_length=64",
                        "eval.batches=1"};
    must_train({name, ranks, small + overrides}, dir);
    return dir;
  }
  std::string made(const char* direction, const std::string& from, const char* name) const {
    const std::string out = scratch_.path(name);
    expect_outcome(run({program(), "convert", direction, from, out, "--check"}), 0);
    return out;
  }
  // What a model in bf16 says about held-out text, and what it makes up.
  std::pair<Json, std::string> spoken(const std::string& weights) const {
    const std::string json = scratch_.path("eval.json");
    const Command bf16{"--dtype", "bf16"};
    const Command eval{program(),
                       "eval",
                       weights,
                       "--data",
                       corpus().valid,
                       "--samples",
                       "6",
                       "--json",
                       json,
                       "data.sequence_length=64",
                       "train.micro_batch_size=2"};
    expect_outcome(run(eval + bf16), 0, {"bits per byte"});
    const Outcome text = run(Command{program(), "generate", weights, "--prompt", "the", "--max-tokens", "20"} + bf16);
    expect_outcome(text, 0);
    return {Json::parse(read_text(json)), text.out};
  }
  Scratch scratch_;
};

TEST_P(ModelConfig, TrainsAndComesBackFromItsFolder) {
  const std::string dir = train_on(GetParam().ranks, GetParam().layout);
  EXPECT_LT(metrics_of(dir).back().at("loss").get<double>(), metrics_of(dir).front().at("loss").get<double>());
  const std::string folder = made("to-hf", dir, "folder");
  EXPECT_EQ(Json::parse(read_text(folder + "/config.json")).at("architectures").at(0), GetParam().architecture);
  EXPECT_EQ(files::ModelFolder(folder).at("model.embed_tokens.weight").dtype, "BF16");
  const auto [of_run, text_of_run] = spoken(dir);
  const auto [of_folder, text_of_folder] = spoken(folder);
  for (const char* key : {"loss", "bits_per_byte", "loss_tokens"}) EXPECT_EQ(of_folder.at(key), of_run.at(key)) << key;
  EXPECT_EQ(text_of_folder, text_of_run);
  const std::string again = made("to-hf", made("from-hf", folder, "checkpoint"), "again");
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json", "generation_config.json"}) {
    const std::string before = read_text(fs::path(folder) / name);
    EXPECT_FALSE(before.empty()) << name;
    EXPECT_TRUE(read_text(fs::path(again) / name) == before) << name;
  }
}

TEST_P(ModelConfig, TrainsLikeOneRank) {
  const Command f64{"train.dtype=f64"};
  const std::string one = train_on(1, f64), many = train_on(GetParam().ranks, GetParam().layout + f64);
  EXPECT_LE(largest_difference(metrics_of(many), metrics_of(one), "loss"), 1e-10);
}

INSTANTIATE_TEST_SUITE_P(
    Shipped, ModelConfig,
    testing::Values(Row{"llama-tiny", 2, {"parallel.tensor=2"}, "LlamaForCausalLM"},
                    Row{"mixtral-tiny", 2, {"parallel.expert=2"}, "MixtralForCausalLM"},
                    Row{"qwen2-moe-tiny", 2, {}, "Qwen2MoeForCausalLM"},
                    Row{"qwen3-moe-tiny", 4, {"parallel.tensor=2", "parallel.expert=4"}, "Qwen3MoeForCausalLM"},
                    Row{"olmoe-tiny", 4, {"parallel.tensor=4", "parallel.expert=2"}, "OlmoeForCausalLM"},
                    Row{"glm4-moe-tiny", 8, {"parallel.tensor=2", "parallel.expert=4"}, "Glm4MoeForCausalLM"}),
    [](const auto& row) { return name_of(row.param); });

// 257 tokens: each tensor rank has as many rows as the first, those behind the last token take part in nothing.
class OddVocabulary : public testing::TestWithParam<Row> {};

TEST_P(OddVocabulary, LeavesAsThatOfOneRankWithoutPaddedRows) {
  const Row& row = GetParam();
  const Scratch scratch;
  const auto folder_of = [&](int ranks, const Command& layout) {
    const std::string dir = scratch.path(fmt::format("run-{}", ranks)), out = dir + "-hf";
    const Command small{"run.threads=1",      "train.dtype=f64",         "train.steps=2",
                        "eval.batches=1",     "schedule.warmup_steps=0", "data.sequence_length=32",
                        "model.num_layers=2", "model.vocab_multiple=1",  "train.global_batch_size=2"};
    must_train({std::string("../models/") + row.config, ranks, small + layout}, dir);
    expect_outcome(run(on_ranks(ranks, {program(), "convert", "to-hf", dir, out, "--check"})), 0);
    return out;
  };
  const std::string one = folder_of(1, {}), many = folder_of(row.ranks, row.layout);
  const files::ModelFolder folder(many);
  EXPECT_EQ(folder.at("model.embed_tokens.weight").shape, (Shape{257, 128}));
  EXPECT_EQ(Json::parse(read_text(many + "/config.json")).at("vocab_size"), 257);
  EXPECT_EQ(Json::parse(read_text(many + "/config.json")).at("architectures").at(0), row.architecture);
  EXPECT_EQ(folder.has("lm_head.weight"),
            !Json::parse(read_text(many + "/config.json")).value("tie_word_embeddings", false));
  expect_outcome(
      run({program(), "compare", many + "/model.safetensors", one + "/model.safetensors", "--bound", "1e-9"}), 0);
}

INSTANTIATE_TEST_SUITE_P(Shipped, OddVocabulary,
                         testing::Values(Row{"llama-tiny", 2, {"parallel.tensor=2"}, "LlamaForCausalLM"},
                                         Row{"glm4-moe-tiny", 4, {"parallel.tensor=4"}, "Glm4MoeForCausalLM"}),
                         [](const auto& row) { return name_of(row.param); });

}  // namespace
}  // namespace switchyard::test
