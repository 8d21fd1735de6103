// Checkpoints that this project did not compute (tests/model/goldens/README.md), through the program: into a
// checkpoint, computed, compared, and out again.
#include "switchyard/base/pattern.h"
#include "switchyard/files/model_folder.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace switchyard {
namespace {

using test::operator+;  // NOLINT(misc-unused-using-decls): in templates of GoogleTest it is not seen
using test::Command;
using test::expect_outcome;
using test::program;
using test::run;
using test::Scratch;

struct Quantity {
  const char *pattern, *bound;
};
// Bounds of two implementations of f32 arithmetic; integers are equal.
constexpr Quantity kQuantities[] = {{"logits", "2e-5"},   {"loss_*", "1e-6"},         {"grad.*", "1e-4"},
                                    {"topk_ids.*", "0"},  {"topk_weights.*", "2e-5"}, {"router_logits.*", "2e-5"},
                                    {"hidden.*", "2e-5"}, {"generated_ids", "0"}};

class Reference : public testing::TestWithParam<const char*> {
 protected:
  std::string golden() const { return std::string("tests/model/goldens/") + GetParam(); }
  std::string from_hf() const {
    const std::string made = scratch_.path("checkpoint");
    if (!std::filesystem::exists(made))
      expect_outcome(run({program(), "convert", "from-hf", golden(), made, "--check"}), 0);
    return made;
  }
  Command forward(const std::string& weights, const std::string& out) const {
    return {program(), "forward", weights, "--inputs", golden() + "/expected.safetensors", "--out", out};
  }
  void expect_reference(const std::string& out) const {
    const files::SafetensorsFile expected(File::open(golden() + "/expected.safetensors"));
    for (const Quantity& quantity : kQuantities) {
      SCOPED_TRACE(quantity.pattern);
      const bool is_there = std::ranges::any_of(
          expected.tensors(), [&](const auto& tensor) { return matches_any({quantity.pattern}, tensor.first); });
      ASSERT_TRUE(is_there || is_dense()) << "of a dense model there is no routing";
      if (!is_there) continue;
      expect_outcome(run({program(), "compare", out, golden() + "/expected.safetensors", "--only", quantity.pattern,
                          "--bound", quantity.bound}),
                     0);
    }
  }
  static bool is_dense() { return std::string_view(GetParam()).starts_with("llama/"); }
  const Command everything_{"--gradients", "--routing", "--hidden", "--generate", "16"};
  Scratch scratch_;
};

TEST_P(Reference, IsComputedByTheCheckpointAndByTheFolder) {
  const std::string a = scratch_.path("a.safetensors"), b = scratch_.path("b.safetensors");
  expect_outcome(run(forward(from_hf(), a) + everything_), 0);
  expect_reference(a);
  expect_outcome(run(forward(golden(), b) + everything_), 0);
  expect_outcome(run({program(), "compare", a, b}), 0);
}

// By token ids, as no tokenizer comes with it; of the folder and of the checkpoint.
TEST_P(Reference, IsEvaluatedAndContinuedByIds) {
  const files::SafetensorsFile expected(File::open(golden() + "/expected.safetensors"));
  const std::string batch = scratch_.path("batch.safetensors"), json = scratch_.path("eval.json");
  const auto of_one_step = [&](const char* name) {
    const Tensor rows_BS = expected.load(name);
    return rows_BS.view({1, rows_BS.dim(0), rows_BS.dim(1)});
  };
  files::write_safetensors(batch, {{"input_ids", of_one_step("input_ids")}, {"labels", of_one_step("labels")}});
  const std::string length = fmt::format("data.sequence_length={}", expected.at("input_ids").shape[1]);
  std::vector<int64_t> ids = expected.load("prompt_ids").to_vector<int64_t>();
  const std::string prompt = fmt::format("{}", fmt::join(ids, ","));
  const auto generated = expected.load("generated_ids").to_vector<int64_t>();
  ids.insert(ids.end(), generated.begin(), generated.end());
  const std::string count = std::to_string(generated.size());
  for (const std::string& weights : {golden(), from_hf()}) {
    SCOPED_TRACE(weights);
    expect_outcome(run({program(), "eval", weights, "--data", batch, length, "--dtype", "f32", "--json", json}), 0);
    const double loss = test::Json::parse(test::read_text(json)).at("loss"), mean = expected.load("loss_mean").item();
    EXPECT_NEAR(loss, mean, 1e-6 * mean);
    const auto outcome = run({program(), "generate", weights, "--ids", prompt, "--max-tokens", count, "--temperature",
                              "0", "--dtype", "f32"});
    expect_outcome(outcome, 0);
    EXPECT_EQ(outcome.out, fmt::format("{}\n", fmt::join(ids, " ")));
  }
}

TEST_P(Reference, ComesOutAsItCameIn) {
  const std::string out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "to-hf", from_hf(), out, "--check", "--shard-size", "50KB"}), 0);
  const files::ModelFolder before(golden()), after(out);
  EXPECT_TRUE(after.warnings().empty());
  ASSERT_EQ(after.names(), before.names());
  for (const std::string& name : before.names()) {
    ASSERT_EQ(after.at(name).kind(), before.at(name).kind()) << name;
    std::string x(static_cast<size_t>(before.at(name).bytes()), 'x'), y(x.size(), 'y');
    before.read(name, 0, x.data(), before.at(name).bytes());
    after.read(name, 0, y.data(), after.at(name).bytes());
    EXPECT_TRUE(x == y) << name;
  }
  EXPECT_EQ(test::Json::parse(test::read_text(out + "/config.json")),
            test::Json::parse(test::read_text(golden() + "/config.json")));
}

INSTANTIATE_TEST_SUITE_P(Published, Reference, testing::ValuesIn(test::kGoldens), [](const auto& row) {
  std::string name = row.param;
  std::ranges::replace(name, '/', '_');
  return name;
});

class Conversion : public ::testing::Test {
 protected:
  // Two steps of a run that starts from the checkpoint; returns its folder.
  std::string train_from(const std::string& start) const {
    const std::string batches = scratch_.path("steps.safetensors"), dir = scratch_.path("run");
    const Tensor ids = Tensor::full({2, 4, 16}, DType::i64, 7);
    files::write_safetensors(batches, {{"input_ids", ids}, {"labels", ids}});
    scratch_.write("c.yaml", fmt::format("model: {{from_hf: {0}/config.json}}\n"
                                         "data: {{sequence_length: 16, train: [{{path: {1}}}]}}\n"
                                         "train: {{steps: 2, global_batch_size: 4, micro_batch_size: 4, dtype: bf16}}\n"
                                         "checkpoint: {{init: {0}}}\n",
                                         start, batches));
    expect_outcome(run({program(), "train", scratch_.path("c.yaml"), "run.dir=" + dir}), 0, {"weights    from"});
    return dir;
  }
  const std::string golden_ = "tests/model/goldens/qwen2_moe/base";
  Scratch scratch_;
};

TEST_F(Conversion, RanksShareTheWorkAndTheExperts) {
  const std::string one = scratch_.path("one"), two = scratch_.path("two"), out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "from-hf", golden_, one}), 0);
  expect_outcome(run(test::on_ranks(2, {program(), "convert", "from-hf", golden_, two, "--check"})), 0);
  test::expect_same_checkpoint(one, two);
  expect_outcome(run(test::on_ranks(2, {program(), "convert", "to-hf", two, out, "--check"})), 0);
}

TEST_F(Conversion, ForwardGivesTheSameInEveryLayout) {
  const std::string one = scratch_.path("one"), many = scratch_.path("many");
  const auto forward = [&](const std::string& to) {
    return Command{program(),     "forward",   golden_,    "--inputs",   golden_ + "/expected.safetensors",
                   "--gradients", "--routing", "--hidden", "--generate", "16",
                   "--out",       to};
  };
  expect_outcome(run(forward(one)), 0);
  for (const auto& [ranks, layout] : std::vector<std::pair<int, Command>>{
           {2, {}},
           {2, {"parallel.expert=2"}},
           {2, {"parallel.tensor=2"}},
           {2, {"parallel.expert_tensor=2"}},
           {4, {"parallel.tensor=2", "parallel.expert=2", "parallel.expert_tensor=2"}}}) {
    SCOPED_TRACE(fmt::format("{} ranks {}", ranks, fmt::join(layout, " ")));
    expect_outcome(run(test::on_ranks(ranks, forward(many) + layout)), 0);
    expect_outcome(run({program(), "compare", many, one, "--bound", "1e-5"}), 0);
  }
}

// A run that starts from published weights keeps what came with them, and gives its own back in its own dtype.
TEST_F(Conversion, TrainingGoesOnFromPublishedWeights) {
  const std::string start = scratch_.path("start"), out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "from-hf", golden_, start}), 0);
  const std::string dir = train_from(start);
  expect_outcome(run({program(), "convert", "to-hf", dir, out}), 0);
  const auto config = test::Json::parse(test::read_text(out + "/config.json"));
  auto expected = test::Json::parse(test::read_text(golden_ + "/config.json"));
  expected["torch_dtype"] = "bfloat16";
  EXPECT_EQ(config, expected);
  EXPECT_EQ(files::ModelFolder(out).at("lm_head.weight").dtype, "BF16");
  EXPECT_EQ(files::ModelFolder(out).names(), files::ModelFolder(golden_).names());
}

// Layers of multi-token prediction come back byte for byte; once the others are trained they are left out, or kept on
// request.
TEST_F(Conversion, CarriesLayersOfMultiTokenPrediction) {
  const std::string glm = "tests/model/goldens/glm4_moe/base", folder = scratch_.path("folder");
  const files::SafetensorsFile file(File::open(glm + "/model.safetensors"));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : file.tensors()) {
    tensors[name] = file.load(name);
    const std::string last = "model.layers.2.";
    if (name.starts_with(last)) tensors["model.layers.3." + name.substr(last.size())] = tensors[name];
  }
  for (const char* name : {"enorm.weight", "hnorm.weight", "shared_head.norm.weight"})
    tensors[std::string("model.layers.3.") + name] = Tensor::full({32}, DType::bf16, 3);
  tensors["model.layers.3.eh_proj.weight"] = Tensor::full({32, 64}, DType::bf16, 4);
  auto config = test::Json::parse(test::read_text(glm + "/config.json"));
  config["num_nextn_predict_layers"] = 1;
  scratch_.write("folder/config.json", config.dump());
  files::write_safetensors(folder + "/model.safetensors", tensors);

  const std::string start = scratch_.path("start"), back = scratch_.path("back"), out = scratch_.path("o");
  expect_outcome(run({program(), "convert", "from-hf", folder, start}), 0, {"are carried along, not used"});
  expect_outcome(run({program(), "convert", "to-hf", start, back}), 0);
  expect_outcome(run({program(), "compare", back + "/model.safetensors", folder + "/model.safetensors"}), 0);
  expect_outcome(run({program(), "forward", start, "--inputs", glm + "/expected.safetensors", "--out", out}), 0);
  expect_outcome(run({program(), "compare", out, glm + "/expected.safetensors", "--only", "logits", "--bound", "2e-5"}),
                 0);

  const std::string dir = train_from(start), left = scratch_.path("left"), kept = scratch_.path("kept");
  expect_outcome(run({program(), "convert", "to-hf", dir, left}), 0, {"left out"});
  EXPECT_FALSE(files::ModelFolder(left).has("model.layers.3.eh_proj.weight"));
  EXPECT_EQ(test::Json::parse(test::read_text(left + "/config.json"))["num_nextn_predict_layers"], 0);
  expect_outcome(run({program(), "convert", "to-hf", dir, kept, "--keep-carried"}), 0);
  EXPECT_EQ(files::ModelFolder(kept).at("model.layers.3.eh_proj.weight").dtype, "BF16");
}

// transformers 5 stacks the experts, and may save them so.
TEST_F(Conversion, ReadsStackedExperts) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("o");
  const files::SafetensorsFile file(File::open(golden_ + "/model.safetensors"));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : file.tensors())
    if (name.find(".experts.") == std::string::npos) tensors[name] = file.load(name);
  for (const char* layer : {"model.layers.0.mlp.experts.", "model.layers.1.mlp.experts."}) {
    Tensor gate_up = Tensor::empty({8, 2, 12, 32}, DType::f32), down = Tensor::empty({8, 32, 12}, DType::f32);
    for (int64_t e = 0; e < 8; ++e) {
      const auto load = [&](const char* name) { return file.load(fmt::format("{}{}.{}.weight", layer, e, name)); };
      Tensor both = gate_up.slice(0, e, e + 1).view({2, 12, 32});
      both.slice(0, 0, 1).view({12, 32}).copy_from(load("gate_proj"));
      both.slice(0, 1, 2).view({12, 32}).copy_from(load("up_proj"));
      down.slice(0, e, e + 1).view({32, 12}).copy_from(load("down_proj"));
    }
    tensors[std::string(layer) + "gate_up_proj"] = gate_up.view({8, 24, 32});
    tensors[std::string(layer) + "down_proj"] = down;
  }
  std::filesystem::create_directory(folder);
  std::filesystem::copy(golden_ + "/config.json", folder);
  files::write_safetensors(folder + "/model.safetensors", tensors);
  expect_outcome(run({program(), "convert", "from-hf", folder, out}), 0);
  expect_outcome(run({program(), "convert", "from-hf", golden_, out + "2"}), 0);
  test::expect_same_checkpoint(out, out + "2");
}

TEST_F(Conversion, WhatDoesNotFitIsNamed) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("out");
  std::filesystem::copy(golden_, folder);
  const files::SafetensorsFile file(File::open(golden_ + "/model.safetensors"));
  std::map<std::string, Tensor> tensors{{"more", Tensor::zeros({3}, DType::f32)}};
  for (const auto& [name, info] : file.tensors()) tensors[name] = file.load(name);
  tensors.erase("lm_head.weight");
  tensors["model.norm.weight"] = Tensor::zeros({3}, DType::f32);
  std::filesystem::remove(folder + "/model.safetensors");
  files::write_safetensors(folder + "/model.safetensors", tensors);
  expect_outcome(run({program(), "convert", "from-hf", folder, out}), 65,
                 {"lm_head.weight (80, 32): is missing", "model.norm.weight: is F32 (3), not (32)",
                  "more F32 (3): has no place", "--allow-unused more"});
  EXPECT_FALSE(std::filesystem::exists(out));
  scratch_.write("taken/file", "x");
  expect_outcome(run({program(), "convert", "from-hf", golden_, scratch_.path("taken")}), 64, {"exists", "taken"});
  expect_outcome(run({program(), "convert", "from-hf", golden_, out}), 0);
  expect_outcome(run({program(), "convert", "to-hf", out, scratch_.path("other"), "--family", "olmoe"}), 64,
                 {"model.attention.qk_norm: none, but full in family olmoe"});
  EXPECT_FALSE(std::filesystem::exists(scratch_.path("other")));
}

TEST_F(Conversion, TextOfAnUnknownTokenizerIsRefused) {
  const std::string start = scratch_.path("start"), text = test::corpus().valid;
  expect_outcome(run({program(), "convert", "from-hf", golden_, start}), 0);
  for (const std::string& weights : {golden_, start}) {
    expect_outcome(run({program(), "generate", weights, "--prompt", "a"}), 64, {weights, "tokenizer", "give --ids"});
    expect_outcome(run({program(), "eval", weights, "--data", text}), 64, {weights, "tokenizer", "FILE.safetensors"});
    expect_outcome(run({program(), "eval", weights}), 64, {"give --data"});
    expect_outcome(run({program(), "generate", weights, "--ids", "5,80", "--max-tokens", "1"}), 65, {"80"});
  }
}

// Before anything is made for each of them.
TEST_F(Conversion, NumbersThatNoMemoryHoldsAreRefused) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("out");
  std::filesystem::copy(golden_, folder);
  const auto config = test::Json::parse(test::read_text(golden_ + "/config.json"));
  const auto refuse = [&](const test::Json& changes, const std::vector<std::string>& words) {
    auto changed = config;
    changed.update(changes);
    scratch_.write("folder/config.json", changed.dump());
    expect_outcome(run({program(), "convert", "from-hf", folder, out}), 65, words);
  };
  refuse({{"num_hidden_layers", 2'000'000'000}}, {"num_hidden_layers", "2000000000", "10000"});
  refuse({{"num_experts", 2'000'000'000}}, {"num_experts", "2000000000", "65536"});
  refuse({{"num_hidden_layers", 5000}, {"num_experts", 1000}}, {"5000", "1000"});
}

TEST_F(Conversion, AFamilysTableIsPrinted) {
  expect_outcome(run({program(), "convert", "--table", "qwen2_moe"}), 0,
                 {"decoder_sparse_step", "model.layers.{i}.mlp.experts.{e}.up_proj.weight"});
  expect_outcome(run({program(), "convert", "--table", "gpt2"}), 64, {"'gpt2' is not known", "mixtral"});
}

TEST_F(Conversion, CompareTellsWhatDiffers) {
  const auto write = [&](const char* name, const std::map<std::string, Tensor>& tensors) {
    files::write_safetensors(scratch_.path(name), tensors);
    return scratch_.path(name);
  };
  const std::string a =
      write("a", {{"x", Tensor::full({4}, DType::f32, 1)}, {"n", Tensor::of(std::vector<int64_t>{1, 2}, {2})}});
  const std::string b = write("b", {{"x", Tensor::full({4}, DType::f32, 1.25)},
                                    {"n", Tensor::of(std::vector<int64_t>{1, 3}, {2})},
                                    {"z", Tensor::zeros({1}, DType::f32)}});
  expect_outcome(run({program(), "compare", a, a}), 0);
  expect_outcome(run({program(), "compare", a, b}), 1,
                 {"1 of 2 entries differ", "of max |b| 2.000e-01", "norm(a-b)/norm(b) 2.000e-01", "only in " + b});
  expect_outcome(run({program(), "compare", a, b, "--only", "x", "--bound", "0.21"}), 0);
  expect_outcome(run({program(), "compare", a, b, "--only", "x", "--bound", "0.19"}), 1);
  expect_outcome(run({program(), "compare", a, b, "--only", "y"}), 64, {"no tensor"});
}

}  // namespace
}  // namespace switchyard
